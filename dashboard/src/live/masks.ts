// Label maps as pictures. A label is the XOR of all changes above it in its column (clients/protocol.py), so only
// the columns that are drawn are followed, and a frame costs about as much as it has changes.

import type { LabelMaps } from "../messages";

const LARGEST = 64 << 20; // bytes; what says it is larger is no label map of a camera

async function inflate(data: string): Promise<Uint8Array> {
  const packed = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader = stream.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    size += part.value.length;
    if (size > LARGEST) throw new RangeError("a label map is too large");
    parts.push(part.value);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Colours by label as RGBA words, as an ImageData holds them. */
export function words(colours: string[]): Uint32Array {
  const found = new Uint32Array(256).fill(0xff000000);
  colours.forEach((colour, label) => {
    const rgb = parseInt(colour.slice(1), 16);
    found[label] = 0xff000000 | ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16);
  });
  return found;
}

/** The first frame, every `step`th pixel of every `step`th row, painted. */
export async function paint(maps: LabelMaps, colours: Uint32Array, widest: number): Promise<ImageData> {
  const step = Math.max(1, Math.ceil(maps.width / widest));
  const [width, height] = [Math.ceil(maps.width / step), Math.ceil(maps.height / step)];
  const picture = new ImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  const raw = await inflate(maps.data);
  const count = Math.floor(raw.length / 5);
  const labels = new Uint8Array(maps.width);
  let place = -1;
  let next = 0;
  const advance = () => {
    place += raw[next]! | (raw[count + next]! << 8) | (raw[2 * count + next]! << 16) | (raw[3 * count + next]! << 24);
  };
  if (count) advance();
  for (let row = 0; row < maps.height; row++) {
    const end = (row + 1) * maps.width;
    while (next < count && place < end) {
      labels[place - row * maps.width]! ^= raw[4 * count + next]!;
      next++;
      if (next < count) advance();
    }
    if (row % step === 0) {
      const from = (row / step) * width;
      for (let column = 0; column < width; column++) pixels[from + column] = colours[labels[column * step]!]!;
    }
  }
  return picture;
}
