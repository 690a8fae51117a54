/**
 * What every frame holds: number, who sends it on which connection, its limit, its fields in order. One table, from
 * which codec and types follow; docs/PROTOCOL.md says the same and a test compares them. No logic.
 */
import type { FieldKinds } from './fields.js';

export const frameHeaderBytes = 24;
/** Limits are payload bytes. That of LOG holds the largest record: 128 MiB of body, and 4 KiB for all around it. */
export const frames = {
  HANDSHAKE: {
    type: 1,
    from: 'replica',
    on: 'control',
    limit: 262_144,
    fields: {
      clusterId: 'id',
      nodeId: 'id',
      highestTerm: 'u32',
      position: 'position',
      durable: 'position',
      applied: 'position',
      promised: 'position',
      complete: 'flag',
      consistent: 'flag',
      belowFormerMark: 'flag',
      acceptLoss: 'flag',
      asksFull: 'reason?',
      capabilities: 'u64',
      resume: 'resume?',
      checkpoints: 'positions',
      epochs: 'epochs',
      version: 'text',
    },
  },
  WELCOME: {
    type: 2,
    from: 'primary',
    on: 'control',
    limit: 262_144,
    fields: {
      clusterId: 'id',
      nodeId: 'id',
      epoch: 'epoch',
      highestTerm: 'u32',
      head: 'position',
      shippingEnd: 'position',
      logFloor: 'u64',
      isSync: 'flag',
      capabilities: 'u64',
      heartbeatMs: 'u32',
      timeoutMs: 'u32',
      time: 'ms',
      epochs: 'epochs',
      version: 'text',
    },
  },
  DECISION: {
    type: 3,
    from: 'primary',
    on: 'control',
    limit: 4_096,
    fields: {
      tier: 'tier',
      reason: 'reason?',
      from: 'position',
      common: 'position?',
      lossBytes: 'u64?',
      lossSeqs: 'u64?',
      to: 'position?',
      details: 'text',
    },
  },
  ANSWER: {
    type: 4,
    from: 'replica',
    on: 'control',
    limit: 2_048,
    fields: { verdict: 'verdict', position: 'position', details: 'text' },
  },
  LOG: {
    type: 5,
    from: 'primary',
    on: 'control',
    limit: 134_221_824,
    fields: { before: 'position', records: 'rest' },
  },
  COMMIT: {
    type: 6,
    from: 'primary',
    on: 'control',
    limit: 256,
    fields: {
      shippingEnd: 'position',
      visible: 'position',
      commit: 'position',
      promised: 'position',
      undoFloor: 'position',
      time: 'ms',
    },
  },
  ACK: {
    type: 7,
    from: 'replica',
    on: 'control',
    limit: 128,
    fields: { received: 'position', durable: 'position', applied: 'position', counts: 'flag' },
  },
  PING: { type: 8, from: 'both', on: 'both', limit: 32, fields: { time: 'u64', echo: 'u64?' } },
  SNAPSHOT_BEGIN: {
    type: 9,
    from: 'primary',
    on: 'control',
    limit: 1_052_672,
    fields: {
      syncId: 'id',
      reason: 'reason?',
      position: 'position',
      flows: 'u32',
      compression: 'compression',
      estimatedBytes: 'u64',
      estimatedEntries: 'u64',
      resumed: 'flag',
      metaState: 'blob',
    },
  },
  JOIN: { type: 10, from: 'replica', on: 'data', limit: 64, fields: { syncId: 'id', connection: 'u32' } },
  FLOW_REQUEST: {
    type: 11,
    from: 'replica',
    on: 'data',
    limit: 64,
    fields: { syncId: 'id', flow: 'u32', offset: 'u64', credit: 'u64' },
  },
  FLOW_CREDIT: { type: 12, from: 'replica', on: 'data', limit: 32, fields: { flow: 'u32', credit: 'u64' } },
  FLOW_DATA: {
    type: 13,
    from: 'primary',
    on: 'data',
    limit: 2_097_152,
    fields: { flow: 'u32', offset: 'u64', last: 'flag', bytes: 'rest' },
  },
  FLOW_DONE: {
    type: 14,
    from: 'primary',
    on: 'data',
    limit: 64,
    fields: { flow: 'u32', entries: 'u64', bytes: 'u64', fileBytes: 'u64', crc: 'u32' },
  },
  FLOW_END: { type: 15, from: 'replica', on: 'data', limit: 32, fields: { flow: 'u32', crc: 'u32' } },
  LOG_DURABLE: {
    type: 16,
    from: 'primary',
    on: 'control',
    limit: 64,
    fields: { syncId: 'id', position: 'position' },
  },
  INSTALLED: {
    type: 17,
    from: 'replica',
    on: 'control',
    limit: 64,
    fields: { syncId: 'id', position: 'position' },
  },
  ERROR: {
    type: 18,
    from: 'both',
    on: 'both',
    limit: 4_096,
    fields: { code: 'code', reason: 'reason?', message: 'text', retryAfterMs: 'u32' },
  },
  HANDOVER: {
    type: 19,
    from: 'replica',
    on: 'control',
    limit: 2_048,
    fields: { term: 'u32', host: 'text', port: 'u32' },
  },
  GRANT: {
    type: 20,
    from: 'primary',
    on: 'control',
    limit: 2_048,
    fields: { term: 'u32', position: 'position', details: 'text' },
  },
} as const;

export type FrameName = keyof typeof frames;
export type Side = 'replica' | 'primary';
export type Purpose = 'control' | 'data';

type FieldsOf<N extends FrameName> = (typeof frames)[N]['fields'];

/** One frame by name: its fields as JavaScript values, and `type`. */
export type FrameOf<N extends FrameName> = { readonly type: N } & {
  readonly [F in keyof FieldsOf<N>]: FieldsOf<N>[F] extends keyof FieldKinds ? FieldKinds[FieldsOf<N>[F]] : never;
};

/** Any frame, told apart by `type`. */
export type Frame = { readonly [N in FrameName]: FrameOf<N> }[FrameName];
