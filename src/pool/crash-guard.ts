/**
 * The guard before every start: a server that does not come up, or dies soon, is started again later and later, and
 * after a while not at all for a while, so that it costs the machine and the other servers nothing.
 *
 * A conversation that is opened is one attempt, however many Instances its first words take.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import type { ServerName } from '../ids.ts';
import { CRASH_LIMITS } from '../limits.ts';
import { CrashRecord, type CrashView } from './crash-record.ts';

/** Time and chance, which tests have in their hands. */
export interface Chance {
	nowMs(): number;
	/** Rejects when the signal is aborted. */
	sleep(ms: number, signal: AbortSignal): Promise<void>;
	/** At least 0, less than 1. */
	random(): number;
}

export const REAL_CHANCE: Chance = Object.freeze({
	nowMs: () => performance.now(),
	sleep: (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal }),
	random: () => Math.random(),
});

interface Known {
	spec: string;
	readonly record: CrashRecord;
}

/** An Instance that has not lived long enough to be called well. */
interface Young {
	readonly record: CrashRecord;
	readonly openedAtMs: number;
}

/** What the guard has to see of a conversation that was opened. */
interface Begun {
	readonly lease: { readonly upstream: { readonly ended: Promise<SlipwayError>; readonly served: boolean } };
	/** Not ok when the server refused this one client. */
	readonly answer: { readonly message: { readonly ok: boolean } };
}

/** What is to be started. */
export interface Subject {
	readonly server: ServerName;
	/** What its Instances are made of: what was seen of another spec does not count. */
	readonly spec: string;
}

/** INVARIANT: of each server only what was seen of its present spec is kept. */
export class CrashGuard {
	readonly #chance: Chance;
	readonly #known = new Map<ServerName, Known>();
	readonly #young = new Set<Young>();

	constructor(chance: Chance = REAL_CHANCE) {
		this.#chance = chance;
	}

	/**
	 * Opens a conversation when that may be done.
	 *
	 * @param open is given a signal that ends its launches, when it is aborted or they are known to be in vain
	 * @throws SlipwayError SLIPWAY_CRASH_LOOP; the reason of `signal`; whatever `open` throws, or has lately thrown
	 */
	async run<T extends Begun>(
		subject: Subject,
		signal: AbortSignal,
		open: (launchSignal: AbortSignal) => Promise<T>,
	): Promise<T> {
		const record = this.#recordOf(subject);
		const probe = record.admit(this.#chance.nowMs());
		const { inVain } = record;
		const either = AbortSignal.any([signal, inVain]);
		try {
			if (!probe) await this.#waitOut(record, either);
			const opened = await open(either);
			record.spoke(probe);
			if (opened.answer.message.ok) this.#watch(record, opened.lease.upstream);
			return opened;
		} catch (error) {
			// Who was told that it is in vain, or gave up, has seen nothing of the server.
			const seen = either.aborted ? new SlipwayError('SLIPWAY_SESSION_ENDED') : toSlipwayError(error);
			record.failed(seen, { nowMs: this.#chance.nowMs(), probe });
			throw error;
		}
	}

	/** What was seen while a spec came to be known in full, such as by its image, is of that spec. */
	rename({ server, spec }: Subject, next: string): void {
		const known = this.#known.get(server);
		if (known?.spec === spec) known.spec = next;
	}

	/** How a server stands; undefined when nothing is wrong. */
	view({ server, spec }: Subject): CrashView | undefined {
		const known = this.#known.get(server);
		return known?.spec === spec ? known.record.view(this.#chance.nowMs()) : undefined;
	}

	/** Sees who has lived for long enough, and forgets what does not matter any more. To be called every second or so. */
	tick(): void {
		const nowMs = this.#chance.nowMs();
		for (const young of this.#young) if (isWell(young, nowMs)) this.#grow(young);
		for (const { record } of this.#known.values()) if (record.isQuiet(nowMs)) record.forget();
	}

	#recordOf({ server, spec }: Subject): CrashRecord {
		const known = this.#known.get(server);
		if (known?.spec === spec) return known.record;
		const record = new CrashRecord(server);
		this.#known.set(server, { spec, record });
		return record;
	}

	async #waitOut(record: CrashRecord, signal: AbortSignal): Promise<void> {
		const ms = record.delayMs(this.#chance.nowMs(), this.#chance.random());
		if (ms === 0) return;
		await this.#chance.sleep(ms, signal).catch(() => undefined);
		signal.throwIfAborted();
	}

	#watch(record: CrashRecord, upstream: Begun['lease']['upstream']): void {
		const young: Young = { record, openedAtMs: this.#chance.nowMs() };
		this.#young.add(young);
		void upstream.ended.then((error) => {
			if (!this.#young.delete(young)) return;
			const nowMs = this.#chance.nowMs();
			// One that has served somebody ended of what it was asked, or by somebody's hand: the next may serve as well.
			if (isWell(young, nowMs)) record.forget();
			else if (!upstream.served) record.failed(error, { nowMs, probe: false });
		});
	}

	#grow(young: Young): void {
		this.#young.delete(young);
		young.record.forget();
	}
}

function isWell({ openedAtMs }: Young, nowMs: number): boolean {
	return nowMs - openedAtMs >= CRASH_LIMITS.healthyMs;
}
