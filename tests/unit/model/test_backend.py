"""Transformer Engine is taken where it can run and is worth it, and refused with the reason."""

import pytest
import torch

from d2plm_megatron.model import backend as backend


@pytest.fixture(params=["gpu and te", "te alone", "gpu alone"])
def here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "gpu" in request.param)
    monkeypatch.setattr(backend, "HAVE_TE", "te" in request.param)
    return request.param


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_auto_is_transformer_engine_for_bf16_where_it_can_run(here: str, precision: str) -> None:
    runs = here == "gpu and te" and precision == "bf16"
    assert backend.choose("auto", precision) == ("te" if runs else "torch")
    assert backend.choose("torch", precision) == "torch"


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_te_is_refused_with_the_reason(here: str, precision: str) -> None:
    reasons = {"gpu and te": "in fp32 .* it is for bf16", "te alone": "needs a GPU", "gpu alone": "cannot be imported"}
    if here == "gpu and te" and precision == "bf16":
        assert backend.choose("te", precision) == "te"
    else:
        with pytest.raises(ValueError, match=f"model.backend=te: .*{reasons[here]}; use auto or torch"):
            backend.choose("te", precision)
