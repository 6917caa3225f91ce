"""The packages, and bundles and cards as data of two of them: setup.cfg, which has the rest, cannot say both."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["pipelines*"]), "pipelines.bundles", "pipelines.data_cards"],
    package_dir={"pipelines.bundles": "bundles", "pipelines.data_cards": "data"},
    package_data={
        "pipelines.auditing": ["*.yaml"],
        "pipelines.comparison": ["*.j2"],
        "pipelines.compression": ["__init__.pyi"],
        "pipelines.evaluation": ["__init__.pyi"],
        "pipelines.networks": ["__init__.pyi", "lungs.safetensors"],
        "pipelines.packaging": ["*.j2"],
        "pipelines.prediction": ["*.j2"],
        "pipelines.data_cards": ["*.yaml"],
        "pipelines.synthetic_audit": ["*.j2"],
        "pipelines.starting": [
            "templates/*/*", "templates/*/*/*", "templates/*/*/*/*", "templates/every_kind/models/.gitignore",
        ],
        "pipelines.transforms": ["picture_features.safetensors"],
        "pipelines.viewer": ["static/*", "static/vendor/*"],
        # not what trainings left in models/NETWORK/
        "pipelines.bundles": [
            "*/LICENSE", "*/configs/*", "*/configs/*/*", "*/docs/*", "*/models/*.safetensors", "*/models/*.json",
        ],
    },
)  # fmt: skip
