/** Rewrites frames on their way through the proxy, with the checksums that belong to them: a peer that lies well. */
import { portableChecksum } from '../../dist/wire/checksum.js';
import { FrameDecoder, FrameEncoder } from '../../dist/wire/frame-codec.js';
import type { Frame, FrameName, FrameOf } from '../../dist/wire/frames.js';
import type { Fate, ProxiedFrame } from './proxy.js';

export const checksum = portableChecksum();

/** What `change` makes of each frame of that name; null: it passes as it is. */
export function lieAbout<N extends FrameName>(
  name: N,
  change: (frame: FrameOf<N>) => readonly Frame[] | null,
): (proxied: ProxiedFrame) => Fate {
  return (proxied) => {
    if (proxied.name !== name) return 'pass';
    const from = proxied.direction === 'to-primary' ? 'replica' : 'primary';
    const decoder = new FrameDecoder({ from, on: proxied.purpose, checksum });
    decoder.push(proxied.bytes);
    const decoded = decoder.next();
    if (decoded === undefined) throw new Error(`half a ${name}`);
    const frames = change(decoded.frame as unknown as FrameOf<N>);
    if (frames === null) return 'pass';
    const encoder = new FrameEncoder(checksum);
    return {
      instead: frames.flatMap((frame) => encoder.encode(frame, decoded.epoch).map((part) => Buffer.from(part))),
    };
  };
}

/** The first frame only. */
export function lieOnceAbout<N extends FrameName>(
  name: N,
  change: (frame: FrameOf<N>) => readonly Frame[] | null,
): (proxied: ProxiedFrame) => Fate {
  let isDone = false;
  return lieAbout(name, (frame) => {
    if (isDone) return null;
    const lie = change(frame);
    isDone = lie !== null;
    return lie;
  });
}
