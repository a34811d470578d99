import re
from pathlib import Path

import pytest

from d2plm_megatron.sampling.options import (
    AUTO,
    MASK,
    P2,
    SAMPLERS,
    UNIFORM,
    Adaptive,
    Bridge,
    described,
    for_path,
    options_of,
    sampler_options,
)  # fmt: skip

PAGE = (Path(__file__).parents[3] / "docs" / "samplers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["sampler=p2 sampler.eta=0.5", "sampler=auto", "sampler=auto sampler.top_k=3",
                                  "sampler=remdm sampler.grid=kappa sampler.strategy=rescale sampler.eta=0.3"])  # fmt: skip
def test_options_are_written_as_they_are_typed(text):
    assert str(sampler_options(text.split())) == text
    assert sampler_options(text.split()[::-1]) == sampler_options(text.split())


def test_what_is_left_out_suits_the_model():
    assert sampler_options([]) == AUTO
    assert str(for_path(sampler_options(["sampler.top_p=0.9"]), UNIFORM)) == "sampler=bridge sampler.top_p=0.9"
    assert str(for_path(AUTO, MASK)) == "sampler=exact"
    assert for_path(P2(eta=3), MASK) == P2(eta=3) and for_path(Bridge(), UNIFORM) == Bridge()
    assert sampler_options(["sampler=adaptive", "sampler.bound=1e-1"]) == Adaptive(bound=0.1)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("sampler=pp2", "sampler=pp2: allowed are auto, exact, .* adaptive; did you mean p2[?]"),
        ("p2", "p2: not an option of the sampler; write sampler=p2 sampler.eta=0.5"),
        ("sampler.eta=0.5", "sampler.eta: no such option of sampler=auto; it belongs to sampler=p2, sampler=remdm"),
        ("sampler=p2 sampler.ea=0.5", "sampler.ea: no such option of sampler=p2; did you mean sampler.eta[?]"),
        ("sampler=p2 steps=5", "steps: no such option of sampler=p2; allowed are sampler, sampler.grid, .*"),
        ("sampler=p2 sampler.eta=much", "sampler.eta=much: must be a number"),
        ("sampler.top_p=0", "sampler.top_p=0.0: must lie between 0.01 and 1.0"),
        ("sampler.top_k=2.5", "sampler.top_k=2.5: must be a whole number"),
        ("sampler.grid=kapa", "sampler.grid=kapa: allowed are t, kappa; did you mean kappa[?]"),
        ("sampler=remdm sampler.strategy=none", "sampler.strategy=none: allowed are cap, rescale, confidence.*"),
        ("sampler=exact sampler=p2", "sampler=p2: sampler is given twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(typed, said):
    with pytest.raises(ValueError) as error:
        sampler_options(typed.split())
    assert re.fullmatch(said, str(error.value)), error.value


def test_the_page_and_the_help_have_every_sampler_and_option_with_its_default():
    for name, kind in SAMPLERS.items():
        assert name == "auto" or (f"| `{name}` |" in PAGE and name in described())
        for item in options_of(kind):
            default = f"{item.default:g}" if isinstance(item.default, float) else str(item.default)
            assert f"| `sampler.{item.name}` | {default} |" in PAGE, item.name
            assert f"sampler.{item.name}={item.default}: " in described()
