"""Settings fit the number of examples and the machine."""

from training.start.settings import from_scratch, of_pretrained


def test_few_rows_are_seen_often_and_many_twice() -> None:
    def epochs(examples: int) -> float:
        settings = from_scratch(examples, 600, gpu=False)
        assert settings.steps % settings.eval_every == 0  # so the last step is evaluated
        return settings.steps * settings.batch_size / examples

    assert 20 <= epochs(430) <= 26
    assert 20 <= epochs(1_800) <= 26
    assert 2 <= epochs(99_000) <= 3


def test_students_grow_with_the_rows_and_the_machine() -> None:
    def width(examples: int, gpu: bool) -> int:
        geometry = from_scratch(examples, 600, gpu=gpu).geometry
        assert geometry is not None
        return geometry["d_model"]

    assert [width(count, False) for count in (400, 9_000, 90_000)] == [128, 192, 192]
    assert [width(count, True) for count in (400, 9_000, 90_000)] == [128, 192, 256]


def test_a_run_is_shortened_to_its_time() -> None:
    settings = from_scratch(5_000, 600, gpu=False)
    assert settings.steps == 3_900
    assert settings.within(3_600, per_step=0.5) == settings
    shorter = settings.within(3_600, per_step=2.0)
    assert (shorter.steps, shorter.eval_every, shorter.warmup_steps) == (1_800, 360, 180)
    assert settings.within(3_600, per_step=100).steps == 200


def test_a_pretrained_student_learns_more_slowly() -> None:
    for gpu, rate in ((False, 3e-4), (True, 1e-4)):
        settings = of_pretrained(480, gpu=gpu)
        assert (settings.geometry, settings.learning_rate, settings.steps) == (None, rate, 300)
    assert of_pretrained(1_000_000, gpu=True).steps == 10_000
