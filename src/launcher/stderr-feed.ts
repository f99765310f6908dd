/**
 * What servers write on stderr, for those who follow it. It is read from the rings of the Instances, by one timer for all
 * who follow, so that nothing is kept that is not kept anyway, and nothing is done while nobody follows.
 */
import type { InstanceEnd } from '../channel.ts';
import type { RingLine } from '../docker/stderr-ring.ts';
import type { InstanceId, ServerName } from '../ids.ts';
import { LAUNCHER_LIMITS } from '../limits.ts';
import type { InstanceReport, StderrLine, StderrListener, StderrWish } from './contract.ts';

/** An Instance that may still write. */
interface Source {
	readonly instance: InstanceId;
	readonly server: ServerName;
	readonly ended: Promise<InstanceEnd>;
	stderrLines(from: number, isOver: boolean): { readonly lines: readonly RingLine[]; readonly next: number };
}

interface Follower {
	readonly server: ServerName | undefined;
	readonly onLines: StderrListener;
}

/** INVARIANT: every line from a follower's first on is told to it once, unless the ring has lost it before it was read. */
export class StderrFeed {
	/** The Instances that are not over, and up to where each was told. */
	readonly #sources = new Map<Source, number>();
	readonly #followers = new Set<Follower>();
	#timer: NodeJS.Timeout | undefined;

	/** An Instance that has begun. */
	add(source: Source): void {
		this.#sources.set(source, 0);
		void source.ended.then(() => {
			this.#tellOf(source, true);
			this.#sources.delete(source);
		});
	}

	/**
	 * Tells the lines that there are, and then those that come, until it is aborted.
	 *
	 * @param ended the Instances that are over, and what is known of their last words
	 */
	async follow(
		{ server, tail, follow, signal }: StderrWish,
		ended: readonly InstanceReport[],
		onLines: StderrListener,
	) {
		// Whoever follows already is told up to here, so that all are at the same place.
		for (const source of this.#sources.keys()) this.#tellOf(source, false);
		const isWanted = (one: { readonly server: ServerName }): boolean => server === undefined || one.server === server;
		const live = [...this.#sources].filter(([source]) => isWanted(source));
		const known = [
			...ended.filter(isWanted).toReversed().flatMap(lastWords),
			...live.flatMap(([source, told]) => {
				const { lines } = source.stderrLines(0, false);
				return toLines(source, follow ? lines.filter(({ place }) => place < told) : lines);
			}),
		];
		// Those of one Instance stay in their order.
		known.sort((one, other) => one.at.localeCompare(other.at));
		const last = tail === 0 ? [] : known.slice(-tail);
		if (last.length > 0) onLines(last);
		if (!follow || signal.aborted) return;
		const follower = { server, onLines };
		this.#followers.add(follower);
		this.#timer ??= setInterval(() => this.#tell(), LAUNCHER_LIMITS.stderrIntervalMs);
		const { promise, resolve } = Promise.withResolvers<void>();
		signal.addEventListener('abort', () => resolve(), { once: true });
		await promise;
		this.#followers.delete(follower);
		if (this.#followers.size > 0) return;
		clearInterval(this.#timer);
		this.#timer = undefined;
	}

	#tell(): void {
		for (const source of this.#sources.keys()) this.#tellOf(source, false);
	}

	#tellOf(source: Source, isOver: boolean): void {
		const { lines, next } = source.stderrLines(this.#sources.get(source) ?? 0, isOver);
		this.#sources.set(source, next);
		if (lines.length === 0) return;
		const told = toLines(source, lines);
		for (const { server, onLines } of this.#followers)
			if (server === undefined || server === source.server) onLines(told);
	}
}

function toLines({ instance, server }: Source, lines: readonly RingLine[]): StderrLine[] {
	return lines.map(({ atMs, text }) => ({ at: new Date(atMs).toISOString(), server, instance, text }));
}

/** Of one that is over nothing but the end is kept, and not when it came. */
function lastWords({ instance, server, ended, startedAt, stderr }: InstanceReport): StderrLine[] {
	const at = ended?.at ?? startedAt;
	return stderr === '' ? [] : stderr.split('\n').map((text) => ({ at, server, instance, text }));
}
