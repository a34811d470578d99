"""Where the packages lie: recipes, data tools and launchers beside the package in a checkout, inside it in a wheel."""

from setuptools import find_packages, setup

INSIDE = ("recipes", "data_tools", "launchers")

beside = find_packages(include=[pattern for name in INSIDE for pattern in (name, f"{name}.*")])
setup(
    packages=find_packages(include=["d2plm_megatron*"]) + [f"d2plm_megatron.{package}" for package in beside],
    package_dir={f"d2plm_megatron.{name}": name for name in INSIDE},
)
