"""The pixels of pictures that a browser has taken, and how far two of them are apart."""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from playwright.sync_api import Page

_CHANNELS: Final = 4
"""Bytes of a pixel: red, green, blue, alpha."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_RGB: Final = 2
_AS_IT_IS: Final = b"\0"
"""The colour type of a PNG, and the filter of a row (PNG, 11.2.1 and 9.2)."""

# Text, as bytes are none of JSON's types.
_DECODE: Final = """async (png) => {
    const answer = await fetch(`data:image/png;base64,${png}`);
    const bitmap = await createImageBitmap(await answer.blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    canvas.drawImage(bitmap, 0, 0);
    const {data} = canvas.getImageData(0, 0, bitmap.width, bitmap.height);
    let text = "";
    for (let at = 0; at < data.length; at += 32_768)
        text += String.fromCharCode(...data.subarray(at, at + 32_768));
    return [bitmap.width, btoa(text)];
}"""


class Pixel(NamedTuple):
    """A colour on the screen, each part from 0 to 255."""

    red: int
    green: int
    blue: int

    @property
    def luminance(self) -> float:
        """Relative luminance (WCAG 2.2): black is 0, white 1."""
        red, green, blue = (_linear(part / 255) for part in self)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Pixel, other: Pixel) -> float:
    """The contrast ratio of two colours (WCAG 2.2), from 1 to 21."""
    dark, light = sorted((one.luminance, other.luminance))
    return (light + 0.05) / (dark + 0.05)


Rows = Sequence[Sequence[Pixel]]


class Ink(NamedTuple):
    """The two colours of something that is drawn on an even ground."""

    ground: Pixel
    """The most frequent colour."""
    ink: Pixel
    """The colour that contrasts most with it: strokes have paler pixels at their edges."""

    @property
    def contrast(self) -> float:
        """The contrast of the two."""
        return contrast(self.ground, self.ink)


def ink_of(rows: Rows) -> Ink:
    """The colours of a text, an icon, or a line."""
    counted = Counter(pixel for row in rows for pixel in row)
    [(ground, _)] = counted.most_common(1)
    return Ink(ground, max(counted, key=lambda pixel: contrast(ground, pixel)))


class Box(NamedTuple):
    """A part of a picture or of a window, in pixels of either."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """A picture as its pixels."""

    width: int
    pixels: bytes

    @classmethod
    def of(cls, png: bytes, decoder: Page) -> Picture:
        """Decode a PNG in a page, whose policy has to let it fetch `data:`, as an empty one's."""
        width, pixels = decoder.evaluate(_DECODE, base64.b64encode(png).decode())
        return cls(width, base64.b64decode(pixels))

    def png(self) -> bytes:
        """A PNG of it, a fifth smaller than a browser's: even rows are best left as they are."""
        rgb = bytearray(len(self.pixels) // _CHANNELS * 3)
        for channel in range(3):
            rgb[channel::3] = self.pixels[channel::_CHANNELS]
        length = 3 * self.width
        lines = [_AS_IT_IS + rgb[n : n + length] for n in range(0, len(rgb), length)]
        head = struct.pack(">IIBBBBB", self.width, len(lines), 8, _RGB, 0, 0, 0)
        data = zlib.compress(b"".join(lines), 9)
        chunks = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
        return _SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks)

    def part(self, box: Box) -> Rows:
        """The rows of a part."""
        return [self._row(box.x, y, box.width) for y in range(box.y, box.y + box.height)]

    def _row(self, x: int, y: int, width: int) -> list[Pixel]:
        start = (y * self.width + x) * _CHANNELS
        row = self.pixels[start : start + width * _CHANNELS]
        return [Pixel(*row[n : n + 3]) for n in range(0, len(row), _CHANNELS)]


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
