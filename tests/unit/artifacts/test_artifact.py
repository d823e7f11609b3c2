"""What a file's name says of its format."""

import pytest

from thunderline.artifacts.artifact import extension_of, format_of


@pytest.mark.parametrize(
    ("name", "format_name"),
    [("m.safetensors", "safetensors"), ("m.ONNX", "onnx"), ("a.b.npz", "npz"), ("m.pt", "pt"),
     ("m.tar", "tar"), ("m.tar.gz", "bin"), ("m", "bin"), ("m.", "bin"), (".json", "json"), ("m.exe", "bin")],
)  # fmt: skip
def test_the_format_is_what_the_name_says_or_bin(name: str, format_name: str) -> None:
    assert format_of(name) == format_name


@pytest.mark.parametrize("name", ["m.safetensors", "m.onnx", "m.npz", "m.pt", "m.tar", "m.json", "m.bin"])
def test_a_format_goes_back_to_its_extension(name: str) -> None:
    assert f"m.{extension_of(format_of(name))}" == name


def test_an_unknown_format_is_plain_bytes() -> None:
    assert extension_of("pickle") == "bin"
