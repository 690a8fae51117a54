/** Figures of the heavy runs, for the closing note: printed only where GAPLESS_FIGURES asks for them. */
export function report(what: string, count: number, of?: number): void {
  if (process.env['GAPLESS_FIGURES'] === undefined) return;
  process.stderr.write(`figure: ${what}: ${count}${of === undefined ? '' : ` of ${of}`}\n`);
}
