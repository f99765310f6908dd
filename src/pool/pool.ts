/**
 * The pool: Instances over time. Who wants one gets a Lease, and gives it back.
 *
 * One Instance for each Lease: a stdio process that two clients share is the root of most defects of its kind. Where the
 * catalog says that sessions have an Instance together, the Lease is that of SharedInstances, and they have seats.
 */
import { hash } from 'node:crypto';
import { type ErrorCode, SlipwayError } from '../errors.ts';
import type { PrincipalId, ServerName } from '../ids.ts';
import type { Launcher, ServerView } from '../launcher/contract.ts';
import { Upstream } from '../mcp/upstream.ts';
import { type Chance, CrashGuard, type Subject } from './crash-guard.ts';
import type { CrashView } from './crash-record.ts';
import { Eras } from './eras.ts';
import type { Lease, LeaseRequest } from './lease.ts';
import { type Opened, type Opener, open } from './opening.ts';
import { SharedInstances } from './shared-instances.ts';

export interface PoolOptions {
	/** Told of every Instance that we did not end. */
	readonly onDeath?: ((server: ServerName, cause: ErrorCode) => void) | undefined;
	readonly chance?: Chance | undefined;
}

/** INVARIANT: `#leases` holds what was given and is not over; after `stop` it is empty. */
export class Pool {
	/** The Instances that several sessions use. */
	readonly shared: SharedInstances;
	readonly #launcher: Launcher;
	readonly #leases = new Set<Lease>();
	readonly #eras = new Eras();
	readonly #guard: CrashGuard;
	readonly #onDeath: PoolOptions['onDeath'];

	constructor(launcher: Launcher, { onDeath, chance }: PoolOptions = {}) {
		this.#launcher = launcher;
		this.#onDeath = onDeath;
		this.#guard = new CrashGuard(chance);
		this.shared = new SharedInstances({
			open: (request, opener) => this.open(request, opener),
			find: (server) => this.#viewOf(server),
		});
	}

	/** Instances that are held. */
	get size(): number {
		return this.#leases.size;
	}

	/** A conversation with an Instance of its own that has begun. Rejects with a SlipwayError, and nothing is left then. */
	async open(request: LeaseRequest, opener: Opener): Promise<Opened> {
		const { server, signal } = request;
		let lease: Lease | undefined;
		const onAbort = (): void => void lease?.release('prompt');
		signal.addEventListener('abort', onAbort);
		const subject: Subject = { server, spec: this.#specOf(server) };
		const facts = this.#eras.of(server, subject.spec);
		// Before its image is ready a server's spec is not the last word; afterwards another spec is another build.
		const ready = this.#viewOf(server)?.preparation.kind === 'ready';
		const attempt = async (launchSignal: AbortSignal): Promise<Opened> => {
			const launch = async (): Promise<Lease> => {
				lease = await this.#acquire({ ...request, signal: launchSignal });
				return lease;
			};
			try {
				return await open(launch, opener, facts);
			} finally {
				if (!ready) {
					this.#eras.keep(server, this.#specOf(server), facts);
					this.#guard.rename(subject, this.#specOf(server));
				}
			}
		};
		try {
			return await this.#guard.run(subject, signal, attempt);
		} finally {
			signal.removeEventListener('abort', onAbort);
		}
	}

	/** What keeps a server from being started at once; undefined when nothing does. */
	crashes(server: ServerName): CrashView | undefined {
		return this.#guard.view({ server, spec: this.#specOf(server) });
	}

	/** Whether a server is known to speak revision 2026-07-28 by itself; undefined when it was not tried. */
	speaksModern(server: ServerName): boolean | undefined {
		return this.#eras.of(server, this.#specOf(server)).modern;
	}

	#specOf(server: ServerName): string {
		return this.#viewOf(server)?.spec ?? '';
	}

	#viewOf(server: ServerName): ServerView | undefined {
		return this.#launcher.state.servers.find(({ name }) => name === server);
	}

	/** Many clients never say that they are done: at the bound, who is abandoned makes room. */
	async #acquire(request: LeaseRequest): Promise<Lease> {
		try {
			return await this.#launch(request);
		} catch (error) {
			const full = error instanceof SlipwayError && error.code === 'SLIPWAY_INSTANCES_FULL';
			if (!full || !(await request.makeRoom())) throw error;
			return this.#launch(request);
		}
	}

	async #launch({ server, caller, signal, ...talk }: LeaseRequest): Promise<Lease> {
		const channel = await this.#launcher.launch(server, signal, standIn(caller));
		const upstream = new Upstream(channel, talk);
		const lease: Lease = {
			upstream,
			release: async (patience) => {
				await channel.stop(patience);
				await upstream.ended;
			},
		};
		this.#leases.add(lease);
		void upstream.ended.then(({ code }) => {
			this.#leases.delete(lease);
			if (code !== 'SLIPWAY_SESSION_ENDED') this.#onDeath?.(server, code);
		});
		if (signal.aborted) {
			await lease.release('prompt');
			signal.throwIfAborted();
		}
		return lease;
	}

	/** Looks at the deadlines of everything that is held. */
	tick(nowMs: number): void {
		for (const { upstream } of this.#leases) upstream.tick(nowMs);
		this.#guard.tick();
		this.shared.tick(nowMs);
	}

	/** Ends every Instance that is held. */
	async stop(): Promise<void> {
		await Promise.all([...this.#leases].map((lease) => lease.release('prompt')));
	}
}

/** What stands for a caller at the launcher, which has to tell callers apart and not to know them. */
function standIn(caller: PrincipalId): string {
	return hash('sha256', caller).slice(0, 16);
}
