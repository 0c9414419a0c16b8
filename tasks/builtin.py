"""The tasks that come with Duet."""

from tasks.task import LabelField, Task

NLI_LABELS = ["entailment", "neutral", "contradiction"]

TASKS = {
    task.name: task
    for task in (
        Task(
            name="esnli",
            fields=["premise", "hypothesis"],
            template="{{premise}}</s>{{hypothesis}}",  # T5's end token between them
            labels=NLI_LABELS,
        ),
        Task(
            name="anli1",
            fields=["premise", "hypothesis"],
            template="{{premise}}</s>{{hypothesis}}",
            labels=NLI_LABELS,
        ),
        Task(
            name="cqa",
            fields=["question", "choices"],
            # letters from character codes, so the number of choices has no limit
            template="{{question}}\nAnswer Choices:{% for choice in choices %}\n"
            "({{ '%c' | format(97 + loop.index0) }}) {{choice}}{% endfor %}",
            labels=LabelField(field="choices"),
        ),
        Task(name="svamp", fields=["text"], template="{{text}}", answer="arithmetic"),
    )
}
