"""Generates word problems with equations and reasons, for a student from scratch to read.

`python -m examples.word_problems --rows 100000 --seed 0 --out problems.jsonl`

- `scenes/`: what happens in a problem, the questions about it, and the reasons for the answers
- `words.yaml`: names, nouns and verbs
- `asides.yaml`: sentences that no question is about
- `off_topic.yaml`: texts that are no word problems
"""
