from training.annotation.tokens import answer_limit, guess_tokens, most_tokens, tokens_in


def body(*contents: str, **settings: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text} for text in contents], **settings}


def test_a_token_is_guessed_to_have_three_bytes() -> None:
    assert [tokens_in(text) for text in ("", "ab", "abcdef", "词元", "é" * 6)] == [0, 0, 2, 2, 4]
    assert guess_tokens(body("a" * 30, "b" * 60, max_tokens=100)) == (30, 100)
    assert guess_tokens(body("a" * 30)) == (10, 0)


def test_an_answer_has_the_lowest_limit_that_is_named() -> None:
    assert answer_limit(body(max_tokens=100)) == 100
    assert answer_limit(body(max_completion_tokens=50)) == 50
    assert answer_limit(body(max_tokens=None, max_completion_tokens=50)) == 50
    assert answer_limit(body(max_tokens=100, max_completion_tokens=50)) == 50
    assert answer_limit(body(max_tokens=None)) is None


def test_no_request_has_more_tokens_than_bytes() -> None:
    text = "词元 are many tokens 🙂"
    asked, answered = most_tokens(body(text, max_tokens=7))
    assert asked > len(text.encode())
    assert answered == 7
