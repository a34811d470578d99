"""Versions are known of what is installed, and of what is only on the path."""

from importlib import metadata

import megatron.core
import pytest
import torch

import d2plm_megatron
from d2plm_megatron.runs.versions import versions

NAMES = ("d2plm-megatron", "megatron-core", "torch")


def test_versions_of_what_is_installed() -> None:
    assert versions(*NAMES) == {name: metadata.version(name) for name in NAMES}
    assert versions("d2plm-megatron") == {"d2plm-megatron": d2plm_megatron.__version__}


def test_versions_of_what_is_only_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout beside the packages of a cluster's image has no metadata."""

    def not_installed(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", not_installed)
    found = (d2plm_megatron.__version__, megatron.core.__version__, str(torch.__version__))
    assert versions(*NAMES) == dict(zip(NAMES, found, strict=True))


def test_a_package_that_is_not_here_is_named() -> None:
    with pytest.raises(ImportError, match="no_such_package"):
        versions("no-such-package")
