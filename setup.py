"""Build dockerapi; its metadata stands in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=find_packages(include=["dockerapi", "dockerapi.*"]),
    # Said aloud, so that an editable install puts this directory on sys.path, where twistd looks.
    package_dir={"": "."},
    # One module, not a package: Twisted finds plugins in every `twisted/plugins` on sys.path.
    py_modules=["twisted.plugins.dockerapi_plugin"],
    package_data={"dockerapi": ["py.typed", "units/*"], "": ["*.sql", "*.json"]},
)
