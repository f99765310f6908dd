/**
 * Everything that holds Instances for a caller: the sessions of the first era and the conversations of the second,
 * bounded in number and in time.
 */
import type { Patience } from '../channel.ts';
import { SlipwayError } from '../errors.ts';
import type { PrincipalId } from '../ids.ts';
import { SESSION_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';
import type { Target } from '../pool/target.ts';
import type { Principal } from './principal.ts';

/** Who holds Instances for a caller. */
export interface Tenant {
	readonly principal: Principal;
	readonly target: Target;
	readonly createdAtMs: number;
	/** Requests without an answer, or whose answer the client has not taken yet. */
	readonly inFlight: number;
	/** Event streams that the client holds open. */
	readonly streams: number;
	/** How long nothing happened: 0 while a call is in flight or a stream is open. */
	idleMs(nowMs: number): number;
	/** Keeps streams alive and looks at deadlines. To be called every second or so. */
	tick(nowMs: number): void;
	/** Whether it holds Instances, or some are on their way. */
	readonly awake: boolean;
	/** Gives its Instances back. What cannot go on with others ends. */
	rest(patience: Patience): Promise<void>;
	/** Resolves when its Instances are gone. */
	end(patience: Patience): Promise<void>;
	/** The same, because the process ends: another one may go on with it. */
	suspend(): Promise<void>;
}

export interface TenantsOptions {
	readonly perPrincipalMax: number;
	readonly idleMsMax: number;
}

/** INVARIANT: a tenant is in the table from its creation until it is over, and never after. */
export class Tenants {
	readonly #options: TenantsOptions;
	readonly #tenants = new Set<Tenant>();
	/** Of callers who have to say who they are again and again: until when it is known. Milliseconds since 1970. */
	readonly #knownUntilMs = new Map<PrincipalId, number>();
	#stopped = false;

	constructor(options: TenantsOptions) {
		this.#options = options;
	}

	get streams(): number {
		let count = 0;
		for (const tenant of this.#tenants) count += tenant.streams;
		return count;
	}

	/** Requests of clients without an answer. */
	get inFlight(): number {
		let count = 0;
		for (const tenant of this.#tenants) count += tenant.inFlight;
		return count;
	}

	/**
	 * Makes a place for one more of that caller. To be called before it is made.
	 *
	 * @throws SlipwayError SLIPWAY_SESSIONS_FULL when no idle one of the same caller can make room, or SLIPWAY_DRAINING
	 */
	makePlace(principal: Principal): void {
		// A request that was half here when all were ended.
		if (this.#stopped) throw new SlipwayError('SLIPWAY_DRAINING', { retryAfterSeconds: 1 });
		const own = this.#of(principal);
		const ownMax = principal.limits?.sessions ?? this.#options.perPrincipalMax;
		if (own.length < ownMax && this.#tenants.size < SESSION_LIMITS.sessionsMax) return;
		const abandoned = oldestAbandoned(own);
		if (abandoned === undefined) throw new SlipwayError('SLIPWAY_SESSIONS_FULL', { retryAfterSeconds: 60 });
		void abandoned.end('prompt');
	}

	add(tenant: Tenant): void {
		this.#tenants.add(tenant);
	}

	remove(tenant: Tenant): void {
		this.#tenants.delete(tenant);
	}

	/** Has an abandoned tenant of that caller give its Instances back, and resolves with whether there was one. */
	async makeRoom(principal: Principal): Promise<boolean> {
		const abandoned = oldestAbandoned(this.#of(principal).filter(({ awake }) => awake));
		await abandoned?.rest('prompt');
		return abandoned !== undefined;
	}

	/** A caller has said who it is. To be told of each request. */
	seen({ id, expiresAtMs }: Principal): void {
		if (expiresAtMs !== undefined) this.#knownUntilMs.set(id, Math.max(expiresAtMs, this.#knownUntilMs.get(id) ?? 0));
	}

	/** Ends all of a caller, or has them go on with what it may use now, when it comes back. */
	dismiss(principal: PrincipalId, how: 'end' | 'suspend'): void {
		for (const tenant of this.#tenants)
			if (tenant.principal.id === principal) void (how === 'end' ? tenant.end('prompt') : tenant.suspend());
	}

	/** Keeps streams alive and ends what is past its time. To be called every second or so. */
	tick(nowMs: number): void {
		for (const [principal, untilMs] of this.#knownUntilMs)
			if (untilMs <= Date.now()) {
				this.#knownUntilMs.delete(principal);
				this.dismiss(principal, 'suspend');
			}
		for (const tenant of this.#tenants) {
			tenant.tick(nowMs);
			if (this.#isExpired(tenant, nowMs)) void tenant.end('patient');
			// What is no longer in the catalog may finish what it does, and nothing more.
			else if (tenant.inFlight === 0 && !tenant.target.served) void tenant.end('patient');
		}
	}

	#isExpired(tenant: Tenant, nowMs: number): boolean {
		return tenant.idleMs(nowMs) > this.#options.idleMsMax || nowMs - tenant.createdAtMs > SESSION_LIMITS.absoluteMs;
	}

	/** Ends all as the process does, and takes no more. */
	async stop(): Promise<void> {
		this.#stopped = true;
		await Promise.all([...this.#tenants].map((tenant) => tenant.suspend()));
	}

	#of({ id }: Principal): Tenant[] {
		return [...this.#tenants].filter((tenant) => tenant.principal.id === id);
	}
}

/** The tenant that was idle longest, if that is long enough to take it for abandoned. */
function oldestAbandoned(tenants: readonly Tenant[]): Tenant | undefined {
	const nowMs = performance.now();
	let oldest: Tenant | undefined;
	let oldestIdleMs: number = SESSION_LIMITS.evictableAfterMs;
	for (const tenant of tenants) {
		const idleMs = tenant.idleMs(nowMs);
		if (idleMs < oldestIdleMs) continue;
		oldest = tenant;
		oldestIdleMs = idleMs;
	}
	return oldest;
}

/** One line about a tenant that ended otherwise than it should. */
export function logFailure(log: Log, event: string, { principal, target }: Tenant, error: SlipwayError): void {
	const { cause, code, details, row } = error;
	const { exitCode, reason } = details;
	log[row.logLevel](event, {
		server: target.name,
		code,
		principal: principal.id,
		...(exitCode === undefined ? {} : { exitCode }),
		...(reason === undefined ? {} : { reason }),
		...(code === 'SLIPWAY_INTERNAL' && cause instanceof Error ? { stack: cause.stack ?? '' } : {}),
	});
}
