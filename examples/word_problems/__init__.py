"""Word problems of our own, as many as wanted: a student from scratch learns to read on them.

`python -m examples.word_problems --rows 100000 --seed 0 --out problems.jsonl`

`scenes/` holds what can happen, what can be asked of it, and why the answer is so; `words.yaml`
the words; `asides.yaml` what is said beside that, such as numbers that no question is about;
`off_topic.yaml` texts that are no problems.
"""
