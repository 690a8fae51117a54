/**
 * GET /metrics in the text format 0.0.4. Names are stable; only what the node knows is shown.
 */
import type { Database, ReplicationStatus, Status } from '../index.js';

type Labels = Readonly<Record<string, string>>;

class Page {
  readonly #lines: string[] = [];

  /** One metric: its type, its meaning, its samples. Nothing is written where there is no sample. */
  add(name: string, type: 'gauge' | 'counter', help: string, samples: readonly (readonly [Labels, number])[]): void {
    if (samples.length === 0) return;
    this.#lines.push(`# HELP gapless_${name} ${help}`, `# TYPE gapless_${name} ${type}`);
    for (const [labels, value] of samples) this.#lines.push(`gapless_${name}${labelText(labels)} ${value}`);
  }

  gauge(name: string, help: string, value: number): void {
    this.add(name, 'gauge', help, [[{}, value]]);
  }

  counter(name: string, help: string, value: number): void {
    this.add(name, 'counter', help, [[{}, value]]);
  }

  text(): string {
    return `${this.#lines.join('\n')}\n`;
  }
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${value.replace(/[\\"\n]/g, '\\$&')}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

/** Undefined: the node is not open (yet). */
export function metricsText(database: Database | undefined): string {
  const page = new Page();
  page.gauge('up', 'The process lives.', 1);
  page.gauge('resident_bytes', 'Memory of the process.', process.memoryUsage.rss());
  if (database === undefined) return page.text();
  const status = database.status();
  addPositions(page, status);
  addWork(page, status);
  addReplicas(page, status);
  addResyncs(
    page,
    status,
    status.role === 'primary' || status.link !== null ? database.replication.status() : undefined,
  );
  addSizes(page, status);
  return page.text();
}

function addPositions(page: Page, status: Status): void {
  const { role, epoch, position, durable, commit } = status;
  page.add('role', 'gauge', 'Role of the node.', [[{ role }, 1]]);
  page.gauge('epoch_term', 'Term of the newest record.', Number(epoch.split('.')[0]));
  const points = Object.entries({ visible: position, durable, commit });
  page.add(
    'seq',
    'gauge',
    'Last sequence.',
    points.map(([at, { seq }]) => [{ at }, Number(seq)]),
  );
  page.add(
    'offset_bytes',
    'gauge',
    'Log offset.',
    points.map(([at, { offset }]) => [{ at }, Number(offset)]),
  );
}

function addWork(page: Page, { counters, recovery, eventLoopDelayMs, state, inconsistent }: Status): void {
  page.counter('commits_total', 'Records begun here.', counters.committedRecords);
  page.add('operations_total', 'counter', 'Operations of the records begun here.', [
    [{ op: 'all' }, counters.committedOperations],
  ]);
  page.counter('applied_records_total', 'Records taken from a peer.', counters.appliedRecords);
  const { outcome, reason, gap } = recovery;
  page.add('cold_start_total', 'counter', 'How this process started.', [[{ outcome, reason }, 1]]);
  page.gauge('cold_start_applied_gap', 'Applied minus snapshot at the start, in sequences.', Number(gap));
  page.gauge('poisoned', 'Nothing is acknowledged any more.', state === 'poisoned' ? 1 : 0);
  page.gauge('inconsistent', 'Padded ranges.', inconsistent?.ranges.length ?? 0);
  const { p50, p99, max } = eventLoopDelayMs;
  page.add('event_loop_delay_seconds', 'gauge', 'Delay of the event loop.', [
    [{ quantile: '0.5' }, p50 / 1000],
    [{ quantile: '0.99' }, p99 / 1000],
    [{ quantile: '1' }, max / 1000],
  ]);
}

function addReplicas(page: Page, { replicas, link }: Status): void {
  const known = replicas.flatMap(({ nodeId: node, lag }) => (lag === null ? [] : [{ node, lag }]));
  page.add(
    'replica_lag_records',
    'gauge',
    'Records between the shipping end and what the replica applied.',
    known.map(({ node, lag }) => [{ node }, lag.records]),
  );
  page.add(
    'replica_lag_bytes',
    'gauge',
    'The same in bytes.',
    known.map(({ node, lag }) => [{ node }, lag.bytes]),
  );
  page.add(
    'replica_lag_seconds',
    'gauge',
    'Age of the oldest record that the replica has not applied.',
    known.map(({ node, lag }) => [{ node }, lag.ms / 1000]),
  );
  page.add(
    'replica_stalled',
    'gauge',
    'No progress although it lags.',
    replicas.map(({ nodeId: node, stalled }) => [{ node }, stalled ? 1 : 0]),
  );
  if (link !== null) page.gauge('link_up', 'The link to the primary streams.', link.state === 'streaming' ? 1 : 0);
}

function addResyncs(page: Page, { resync }: Status, replication: ReplicationStatus | undefined): void {
  page.counter('sync_partial_ok_total', 'Resyncs without a full sync.', resync.ring + resync.wal + resync.rewind);
  page.counter('sync_partial_padding_total', 'Resyncs by padding.', resync.padding);
  if (replication === undefined) return;
  const { partialErr, divergenceOperations, fullByReason, byTierAndReason, fenced } = replication.counters;
  page.counter('divergence_operations_total', 'Operations that this node gave up.', divergenceOperations);
  page.counter('sync_partial_err_total', 'Replicas with data that were answered full or stop.', partialErr);
  page.counter('fenced_total', 'Times that this node met a higher term.', fenced);
  page.add(
    'sync_full_total',
    'counter',
    'Full syncs.',
    Object.entries(fullByReason).map(([reason, count]) => [{ reason }, count]),
  );
  page.add(
    'resync_total',
    'counter',
    'Resyncs.',
    Object.entries(byTierAndReason).map(([key, count]) => {
      const [tier = '', reason = ''] = key.split(' ');
      return [{ tier, reason }, count];
    }),
  );
}

function addSizes(page: Page, { log, store }: Status): void {
  page.gauge('log_bytes', 'Bytes of the log on disk.', log.bytes);
  page.gauge('log_floor_bytes', 'Offset of the oldest record kept.', Number(log.floor));
  page.add('store_bytes', 'gauge', 'Bytes of the store.', [
    [{ kind: 'live' }, store.bytes.live],
    [{ kind: 'total' }, store.bytes.total],
  ]);
  page.gauge('memtable_bytes', 'Bytes of the newest writes in memory.', store.memtableBytes);
  page.gauge('cache_bytes', 'Bytes in the cache of blocks.', store.cacheBytes);
  page.counter('cache_hits_total', 'Blocks found in the cache.', store.cacheHits);
  page.counter('cache_misses_total', 'Blocks read from disk.', store.cacheMisses);
  page.gauge('runs', 'Runs of the store.', store.runs);
  page.counter('write_stalls_total', 'Times that commits waited for background work.', store.stalls);
  page.counter('write_stall_seconds_total', 'How long they waited.', store.stallMs / 1000);
  page.gauge('oldest_view_seconds', 'Age of the oldest open view or range.', store.oldestViewMs / 1000);
}
