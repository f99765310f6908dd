/** What is counted and remembered of each server's way out, within bounds: the names are a server's own to choose. */
import { EGRESS_LIMITS } from '../limits.ts';
import type { DenialReason, EgressDenial, EgressTally } from './contract.ts';

const WINDOW_MS = 60_000;

export interface Denied {
	readonly target: string;
	readonly reason: DenialReason;
	readonly allow?: string;
}

interface Account {
	allowed: number;
	denied: number;
	/** By reason and target; the latest last. */
	readonly latest: Map<string, EgressDenial>;
	linesSinceMs: number;
	lines: number;
}

/** INVARIANT: at most serversKeptMax accounts with denialsKeptMax denials each, whoever asks for whatever. */
export class Tallies {
	readonly #accounts = new Map<string, Account>();

	allow(server: string): void {
		this.#account(server).allowed += 1;
	}

	deny(server: string, { target, reason, allow }: Denied): void {
		const account = this.#account(server);
		const { latest } = account;
		const key = `${reason} ${target}`;
		const count = (latest.get(key)?.count ?? 0) + 1;
		account.denied += 1;
		latest.delete(key);
		latest.set(key, { target, reason, count, at: new Date().toISOString(), ...(allow === undefined ? {} : { allow }) });
		for (const oldest of latest.keys()) {
			if (latest.size <= EGRESS_LIMITS.denialsKeptMax) break;
			latest.delete(oldest);
		}
	}

	/** Whether one more line of the log may be about this server in this minute; counts it if so. */
	mayLog(server: string, nowMs: number): boolean {
		const account = this.#account(server);
		if (nowMs - account.linesSinceMs >= WINDOW_MS) {
			account.linesSinceMs = nowMs;
			account.lines = 0;
		}
		if (account.lines >= EGRESS_LIMITS.logLinesPerMinuteMax) return false;
		account.lines += 1;
		return true;
	}

	list(): (readonly [string, EgressTally])[] {
		return [...this.#accounts].map(([server, { allowed, denied, latest }]) => [
			server,
			{ allowed, denied, latest: [...latest.values()].reverse() },
		]);
	}

	#account(server: string): Account {
		const known = this.#accounts.get(server);
		if (known !== undefined) return known;
		const account: Account = {
			allowed: 0,
			denied: 0,
			latest: new Map(),
			linesSinceMs: Number.NEGATIVE_INFINITY,
			lines: 0,
		};
		this.#accounts.set(server, account);
		for (const oldest of this.#accounts.keys()) {
			if (this.#accounts.size <= EGRESS_LIMITS.serversKeptMax) break;
			this.#accounts.delete(oldest);
		}
		return account;
	}
}
