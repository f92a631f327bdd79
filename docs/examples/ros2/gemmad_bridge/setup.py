from setuptools import setup

setup(
    name="gemmad_bridge",
    version="0.1.0",
    packages=["gemmad_bridge"],
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/gemmad_bridge"]),
        ("share/gemmad_bridge", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    maintainer="gemmad maintainers",
    maintainer_email="maintainers@gemmad.invalid",
    description="Publishes the commands that gemmad understood.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["bridge = gemmad_bridge.bridge:main"]},
)
