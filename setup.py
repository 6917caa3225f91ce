"""The packages, and the bundles as data of one of them: setup.cfg, which has the rest, cannot say both."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["pipelines*"]), "pipelines.bundles"],
    package_dir={"pipelines.bundles": "bundles"},
    package_data={
        "pipelines.comparison": ["*.j2"],
        "pipelines.viewer": ["static/*", "static/vendor/*"],
        # not what trainings left in models/NETWORK/
        "pipelines.bundles": [
            "*/LICENSE", "*/configs/*", "*/configs/*/*", "*/docs/*", "*/models/*.safetensors", "*/models/*.json",
        ],
    },
)  # fmt: skip
