/** What people see: colours where there is a terminal to show them, progress, tables, durations. */
import { createInterface } from 'node:readline';
import { styleText } from 'node:util';
import { CLI_LIMITS } from '../limits.ts';
import type { Invocation, Surface } from './invocation.ts';

type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red';

/** Colours a text, or leaves it as it is. */
export type Paint = (style: Style, text: string) => string;

/** The colours of a surface: none but on a terminal, and none where NO_COLOR says so (https://no-color.org). */
export function paintOf({ isTerminal }: Surface, environment: Invocation['environment']): Paint {
	const isColoured = isTerminal && !environment['NO_COLOR'] && environment['TERM'] !== 'dumb';
	return (style, text) => (isColoured ? styleText(style, text, { validateStream: false }) : text);
}

/** A time in ms as people say it. */
export function formatDuration(durationMs: number): string {
	const seconds = durationMs / 1000;
	if (seconds < 60) return `${seconds.toFixed(1)} s`;
	return `${Math.floor(seconds / 60)} min ${String(Math.floor(seconds % 60)).padStart(2, '0')} s`;
}

/** An amount of memory or disk as people say it. */
export function formatBytes(bytes: number): string {
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
	const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
	const amount = bytes / 1024 ** power;
	return `${amount >= 10 || Number.isInteger(amount) ? Math.round(amount) : amount.toFixed(1)} ${units[power]}`;
}

/** Rows as columns that stand below each other. */
export function formatTable(rows: readonly (readonly string[])[]): string {
	const widths: number[] = [];
	for (const row of rows)
		for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
	return rows
		.map((row) =>
			row
				.map((cell, column) => cell.padEnd(widths[column] ?? 0))
				.join('  ')
				.trimEnd(),
		)
		.join('\n');
}

/**
 * Asks a person for a yes. Nothing but Enter is one.
 *
 * @throws as `stopping` says
 */
export async function confirm(
	{ err, input, stopping }: Pick<Invocation, 'err' | 'input' | 'stopping'>,
	question: string,
): Promise<boolean> {
	err.write(`${question} [Y/n] `);
	const lines = createInterface({ input: input() });
	const { promise, resolve, reject } = Promise.withResolvers<string>();
	const abort = (): void => reject(stopping.reason);
	stopping.addEventListener('abort', abort, { once: true });
	lines.once('line', resolve);
	lines.once('close', () => resolve('n'));
	try {
		stopping.throwIfAborted();
		return /^(?:y|yes|)$/i.test((await promise).trim());
	} finally {
		stopping.removeEventListener('abort', abort);
		lines.close();
	}
}

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'] as const;

/**
 * What is being done and for how long. A terminal has the step under way in its last line, which is written over; elsewhere
 * each step is a line of its own, with the time since the beginning.
 */
export class Progress {
	readonly #surface: Surface;
	readonly #paint: Paint;
	readonly #startedAtMs = performance.now();
	#step: { readonly text: string; readonly startedAtMs: number } | undefined;
	#timer: NodeJS.Timeout | undefined;
	#frame = 0;

	constructor(surface: Surface, environment: Invocation['environment']) {
		this.#surface = surface;
		this.#paint = paintOf(surface, environment);
	}

	/** Something begins, and what was before it has ended well. The same again is the same step. */
	step(text: string): void {
		if (this.#step?.text === text) return;
		this.done();
		const nowMs = performance.now();
		this.#step = { text, startedAtMs: nowMs };
		if (this.#surface.isTerminal) {
			this.#draw();
			this.#timer = setInterval(() => this.#draw(), CLI_LIMITS.progressIntervalMs);
		} else {
			const sinceMs = nowMs - this.#startedAtMs;
			this.#surface.write(`[${formatDuration(sinceMs).padStart(7)}] ${text}\n`);
		}
	}

	/** What was under way has ended well. */
	done(): void {
		this.#end(this.#paint('green', '✓'));
	}

	/** What was under way has not. */
	fail(): void {
		this.#end(this.#paint('red', '✗'));
	}

	#end(mark: string): void {
		const step = this.#step;
		this.#step = undefined;
		clearInterval(this.#timer);
		if (step === undefined || !this.#surface.isTerminal) return;
		const took = formatDuration(performance.now() - step.startedAtMs);
		this.#surface.write(`\r\u001b[2K${mark} ${this.#fit(step.text, took)} ${this.#paint('dim', took)}\n`);
	}

	#draw(): void {
		if (this.#step === undefined) return;
		const { text, startedAtMs } = this.#step;
		const took = formatDuration(performance.now() - startedAtMs);
		this.#frame = (this.#frame + 1) % FRAMES.length;
		this.#surface.write(`\r\u001b[2K${FRAMES[this.#frame]} ${this.#fit(text, took)} ${this.#paint('dim', took)}`);
	}

	/** A line that the terminal would break could not be written over. */
	#fit(text: string, took: string): string {
		const room = Math.max(this.#surface.columns - took.length - 4, 8);
		return text.length <= room ? text : `${text.slice(0, room - 1)}…`;
	}
}
