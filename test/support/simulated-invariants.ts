/** What has to be so after every step of a simulation, whatever happened in it. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import type { SlipwayError } from '../../src/errors.ts';
import { Session } from '../../src/http/session.ts';
import type { PrincipalId } from '../../src/ids.ts';
import { SESSION_LIMITS } from '../../src/limits.ts';
import type { MemoryStore } from './memory-store.ts';
import { LegacyClient, type SimulatedClient } from './simulated-client.ts';
import type { Attempt, Launch, Sharing, SimulatedGateway } from './simulated-gateway.ts';
import type { SimulatedInstance, SimulatedLauncher } from './simulated-launcher.ts';
import type { SimulatedServer } from './simulated-server.ts';
import type { SimulatedTime } from './simulated-time.ts';

/** What deadlines are looked at a second may see each other's doing in turn: a session's rest, its seat's, its Instance's. */
const SLACK_MS = 4 * SESSION_LIMITS.tickMs;

/** What the invariants look at. */
export interface Seen {
	readonly time: SimulatedTime;
	readonly launcher: SimulatedLauncher;
	readonly gateway: SimulatedGateway;
	readonly store: MemoryStore;
	readonly servers: ReadonlyMap<SimulatedInstance, SimulatedServer>;
	readonly clients: ReadonlyMap<string, SimulatedClient>;
	readonly instancesMax: number;
	readonly concurrentMax: number;
	readonly warmBytesMax: number;
	/** When some of those Instances last had a call. */
	readonly busyAtMs: WeakMap<Sharing, number>;
	/** When a client last asked something of that server. */
	askedAtMs(server: string): number;
	/** Since when Instances of that server are made of what they are made of now; undefined while that is not known. */
	specSince(
		server: string,
	): { readonly spec: string; readonly sinceMs: number; readonly sinceStep: number } | undefined;
}

/** All that can be looked at when everything that was written has arrived. */
export function checkStep(seen: Seen): void {
	checkBounds(seen);
	checkLeases(seen);
	checkWarm(seen);
	checkAttempts(seen);
	checkOwners(seen);
	checkStarts(seen);
	checkStore(seen);
	checkReplicas(seen);
	checkIdle(seen);
	checkAnswers(seen.clients.values());
}

/** The machine has so much memory, and so many cores. */
function checkBounds({ launcher, instancesMax, concurrentMax }: Seen): void {
	const count = launcher.live.size + launcher.starting;
	assert.ok(count <= instancesMax, `${count} Instances, and ${instancesMax} may be`);
	assert.ok(launcher.starting <= concurrentMax, `${launcher.starting} starts at a time`);
}

/**
 * A lease without an Instance is a session that waits for nobody; an Instance without a lease is never ended, but for
 * those that wait warm.
 */
function checkLeases({ gateway }: Seen): void {
	assert.equal(gateway.pool.size, gateway.held.size, 'leases, and Instances that they are of');
	const waiting = [...gateway.waiting].filter(({ stays }) => stays);
	assert.equal(gateway.pool.warm, waiting.length, `${labels(waiting)} wait`);
}

/** What waits for its first caller takes no more than is there for it, and is what the catalog says. */
function checkWarm({ gateway, launcher, time, warmBytesMax, specSince }: Seen): void {
	const waiting = [...gateway.waiting].filter(({ stays }) => stays);
	const memory = new Map(launcher.state.servers.map(({ name, memoryBytes }) => [name, memoryBytes]));
	const bytes = waiting.reduce((sum, { server }) => sum + (memory.get(server) ?? 0), 0);
	assert.ok(bytes <= warmBytesMax, `${labels(waiting)} wait in ${bytes} bytes`);
	for (const { server, spec, label, bornAtMs } of waiting) {
		const now = specSince(server);
		const staleMs = time.nowMs - Math.max(now?.sinceMs ?? 0, bornAtMs);
		const isStale = now !== undefined && now.spec !== spec && staleMs > SLACK_MS && !gateway.draining;
		assert.ok(!isStale, `${label} waits, and is stale for ${staleMs} ms`);
	}
}

/** Whoever waits for a start goes before those who may come. To be called before a start that nobody asked for. */
export function checkAhead({ attempts }: SimulatedGateway): void {
	const opening = [...attempts].filter(({ state }) => state === 'opening');
	assert.equal(opening.length, 0, 'somebody waits for a start, and one is made ahead');
}

/** Nobody's first words are another's: one that waited was told nothing, and is what the catalog says. */
export function checkTaken({ launcher }: Seen, { label, received, spec, server }: SimulatedInstance): void {
	assert.deepEqual(received, [], `${label} was spoken to before it was taken`);
	const now = launcher.entries.find(({ name }) => name === server);
	if (now !== undefined) assert.equal(spec, launcher.specOf(now), `${label} waited too long`);
}

/** What failed or was given up leaves nothing behind, or every failure would cost a container. */
function checkAttempts({ gateway, launcher }: Seen): void {
	const held = new Set<SimulatedInstance>();
	for (const attempt of gateway.attempts) {
		const instances = attempt.launches.flatMap(({ instance }) => instance ?? []);
		for (const instance of instances) held.add(instance);
		const staying = instances.filter(({ stays }) => stays);
		const mayStay = attempt.state === 'open' || (attempt.state === 'opening' && !attempt.signal.aborted);
		assert.ok(mayStay || staying.length === 0, `${labels(staying)} of an attempt that has ${attempt.state}`);
		assert.ok(staying.length <= 1, `${labels(staying)} of one attempt`);
		if (attempt.state !== 'opening')
			for (const { settled } of attempt.launches) assert.ok(settled, 'a launch that nobody waits for');
	}
	const strays = [...launcher.live].filter(
		(instance) => instance.stays && !held.has(instance) && !gateway.waiting.has(instance),
	);
	assert.deepEqual(labels(strays), '', 'Instances of no attempt');
}

/** An Instance that was opened for one conversation is that conversation's, and ends with it. */
function checkOwners({ gateway, servers, launcher, clients, time }: Seen): void {
	const tenants = [...gateway.tenants.all];
	for (const attempt of gateway.attempts) {
		const instance = currentOf(attempt);
		if (attempt.state !== 'open' || attempt.sharing !== undefined || instance === undefined) continue;
		const { introducedTo = '' } = servers.get(instance) ?? {};
		const isLegacy = clients.get(introducedTo) instanceof LegacyClient;
		const owners = tenants.filter((tenant) => {
			if (tenant.principal.id !== attempt.caller || tenant.target.name !== attempt.server || !tenant.awake)
				return false;
			if (!isLegacy) return !(tenant instanceof Session);
			// One that has not begun yet does not say whose it is.
			return tenant instanceof Session && (tenant.memory?.initialize.includes(`"${introducedTo}"`) ?? true);
		});
		assert.ok(owners.length > 0, `${instance.label} belongs to nobody`);
	}
	// A session has one Instance that takes its calls; others finish what they have.
	const idle = [...launcher.live].filter((instance) => {
		const { inFlight = 0, activeAtMs = 0 } = servers.get(instance) ?? {};
		return instance.stays && inFlight === 0 && time.nowMs - activeAtMs > SLACK_MS;
	});
	const opened = new Set([...gateway.attempts].filter(isOwn).flatMap((attempt) => currentOf(attempt) ?? []));
	const bySession = Map.groupBy(
		idle.filter((instance) => opened.has(instance)),
		(instance) => servers.get(instance)?.introducedTo ?? '',
	);
	for (const [name, instances] of bySession)
		if (clients.get(name) instanceof LegacyClient)
			assert.ok(instances.length <= 1, `${labels(instances)} of one session`);
}

/** A start costs as much as anything: nobody is to make one that nobody waits for. */
function checkStarts({ gateway }: Seen): void {
	for (const tenant of gateway.tenants.all)
		if (tenant instanceof Session && tenant.revision === undefined)
			assert.ok(tenant.inFlight > 0, `nobody waits for a session of ${tenant.principal.id} at ${tenant.target.name}`);
	for (const { state, sharing, signal, era, caller, server } of gateway.attempts) {
		if (state !== 'opening' || sharing !== undefined || signal.aborted) continue;
		const waiting = [...gateway.tenants.all].filter((tenant) => {
			if (tenant.principal.id !== caller || tenant.target.name !== server) return false;
			if (era === 'modern') return !(tenant instanceof Session) && tenant.inFlight > 0;
			// Who is subscribed asks for nothing, and waits all the same.
			return tenant instanceof Session && (tenant.inFlight > 0 || tenant.memory?.subscriptions.length !== 0);
		});
		assert.ok(waiting.length > 0, `nobody waits for a start of ${server} for ${caller}`);
	}
}

/** What is kept of a session that is over is a way back into it for whoever has its id. */
function checkStore({ store, clients }: Seen): void {
	for (const client of clients.values())
		if (client instanceof LegacyClient && client.hasEnded)
			assert.equal(
				store.findSession(hash('sha256', client.sessionId)),
				undefined,
				`${client.name} has ended, and is kept`,
			);
}

/** The catalog says how many Instances the same sessions have together. */
function checkReplicas({ gateway }: Seen): void {
	for (const [sharing, attempts] of bySharing(gateway)) {
		const there = attempts.filter((attempt) =>
			attempt.state === 'opening' ? !attempt.signal.aborted : currentOf(attempt) !== undefined,
		);
		assert.ok(there.length <= sharing.max, `${there.length} replicas, and ${sharing.max} may be`);
	}
}

/** Nobody pays for an Instance that nobody uses, or that is made of what it should not be made of any more. */
function checkIdle(seen: Seen): void {
	const { gateway, time } = seen;
	if (gateway.draining) return;
	for (const attempt of gateway.attempts) {
		const server = serverOf(seen, attempt);
		if (server === undefined || attempt.sharing !== undefined) continue;
		checkStale(seen, [server], server.activeAtMs);
		const { instance, inFlight, isSubscribed, activeAtMs } = server;
		const idleMs = time.nowMs - activeAtMs;
		const isIdle = inFlight === 0 && !isSubscribed && idleMs > instance.entry.idleStopMs + SLACK_MS;
		assert.ok(!isIdle, `${instance.label} is idle for ${idleMs} ms`);
	}
	for (const [sharing, attempts] of bySharing(gateway)) {
		const replicas = attempts.flatMap((attempt) => serverOf(seen, attempt) ?? []);
		if (replicas.some(({ inFlight }) => inFlight > 0)) seen.busyAtMs.set(sharing, time.nowMs);
		const busyAtMs = seen.busyAtMs.get(sharing) ?? 0;
		const activeAtMs = Math.max(busyAtMs, ...replicas.map((server) => server.activeAtMs));
		checkStale(seen, replicas, activeAtMs);
		checkIdleReplicas(seen, replicas, { activeAtMs, min: sharing.min });
	}
}

/** Of those that the same sessions have together, calls in flight keep all: one is the home of whoever made them. */
function checkStale({ time, specSince }: Seen, servers: readonly SimulatedServer[], activeAtMs: number): void {
	if (servers.some(({ inFlight }) => inFlight > 0)) return;
	const idleMs = time.nowMs - activeAtMs;
	for (const { instance } of servers) {
		const now = specSince(instance.server);
		if (now === undefined || now.spec === instance.spec) continue;
		const staleMs = Math.min(idleMs, time.nowMs - now.sinceMs);
		assert.ok(staleMs <= SLACK_MS, `${instance.label} is stale for ${staleMs} ms`);
	}
}

/** As many stay as the catalog says; the oldest is there for whoever has a seat. */
function checkIdleReplicas(
	{ time, askedAtMs }: Seen,
	replicas: readonly SimulatedServer[],
	{ activeAtMs, min }: { readonly activeAtMs: number; readonly min: number },
): void {
	const [{ instance } = {}] = replicas;
	if (instance === undefined || replicas.length <= min) return;
	if (replicas.some(({ inFlight, isSubscribed }) => inFlight > 0 || isSubscribed)) return;
	// Who takes a seat is told what is known, and the server hears nothing of it.
	const idleMs = time.nowMs - Math.max(askedAtMs(instance.server), activeAtMs);
	const isIdle = idleMs > instance.entry.idleStopMs + SLACK_MS;
	assert.ok(!isIdle, `${labels(replicas.map((each) => each.instance))} idle for ${idleMs} ms`);
}

/** A client that is answered twice takes the second answer for that of another request. */
export function checkAnswers(clients: Iterable<SimulatedClient>): void {
	for (const { tickets } of clients)
		for (const ticket of tickets) {
			assert.ok(ticket.answers.length <= 1, `${ticket} was answered ${ticket.answers.length} times`);
			for (const { id } of ticket.answers) assert.equal(id, ticket.id, `${ticket} was given another's answer`);
			assert.ok(!ticket.ended || ticket.gone || ticket.answers.length === 1, `${ticket} ended without an answer`);
		}
}

/** What an Instance knows of one caller, another must not be told. */
export function checkCaller(
	{ gateway, clients, specSince }: Seen,
	{ instance, introducedTo = '' }: SimulatedServer,
	client: SimulatedClient,
): void {
	const attempt = [...gateway.attempts].find(({ launches }) => launches.some((launch) => launch.instance === instance));
	assert.ok(attempt !== undefined, `${instance.label} has a call and is of no attempt`);
	const isEverybodys = attempt.sharing?.isolation === 'shared';
	const owner: PrincipalId = attempt.sharing?.caller ?? attempt.caller;
	assert.ok(isEverybodys || owner === client.principal, `${instance.label} of ${owner} serves ${client.principal}`);
	const isPersonal =
		attempt.sharing === undefined && [client, clients.get(introducedTo)].some((each) => each instanceof LegacyClient);
	assert.ok(!isPersonal || introducedTo === client.name, `${instance.label} of ${introducedTo} serves ${client.name}`);
	// Whoever comes new is to have what the catalog says.
	const now = specSince(instance.server);
	const isNew = client instanceof LegacyClient && now !== undefined && client.step > now.sinceStep;
	if (isNew) assert.equal(instance.spec, now.spec, `${instance.label} is stale, and ${client.name} is new`);
}

/** An Instance that is stopped for nobody using it is one more than are to stay. To be called when it is told to end. */
export function checkStop({ gateway, launcher, time }: Seen, instance: SimulatedInstance): void {
	if (gateway.draining || instance.stopped !== 'patient') return;
	const attempt = [...gateway.attempts].find(
		(each) => currentOf(each, time.nowMs) === instance || each.launches.some((launch) => launch.instance === instance),
	);
	const sharing = attempt?.sharing;
	const isCurrent = launcher.entries.includes(instance.entry) && launcher.specOf(instance.entry) === sharing?.spec;
	if (sharing === undefined || !isCurrent || !instance.entry.enabled) return;
	const left = [...gateway.attempts].filter(
		(each) => each.sharing === sharing && currentOf(each, time.nowMs) !== undefined,
	);
	assert.ok(left.length >= sharing.min, `${instance.label} is stopped, and ${left.length} of ${sharing.min} are left`);
}

/** Who has abandoned an Instance makes room for who wants one. To be called when an attempt has failed. */
export function checkRoom(
	{ gateway, time }: Seen,
	{ launches, sharing, caller }: Attempt,
	{ code }: SlipwayError,
): void {
	if (code !== 'SLIPWAY_INSTANCES_FULL' || sharing !== undefined || launches.length > 1) return;
	for (const tenant of gateway.tenants.all) {
		const isAbandoned = tenant.awake && tenant.idleMs(time.nowMs) >= SESSION_LIMITS.evictableAfterMs;
		const isOwn = tenant.principal.id === caller;
		assert.ok(!isOwn || !isAbandoned, `an abandoned tenant of ${caller} makes no room`);
	}
}

/** The Instance of an attempt that is there; those count too that died at `diedAtMs`, which nobody can know yet. */
function currentOf({ launches }: Attempt, diedAtMs?: number): SimulatedInstance | undefined {
	return launches
		.flatMap(({ instance }: Launch) => instance ?? [])
		.find(
			({ stays, overAtMs, stopsAtMs }) =>
				stays || (diedAtMs !== undefined && stopsAtMs === undefined && overAtMs === diedAtMs),
		);
}

/** What is in the Instance of an attempt that has come to one, and that is there. */
function serverOf({ servers }: Seen, attempt: Attempt): SimulatedServer | undefined {
	const instance = attempt.state === 'open' ? currentOf(attempt) : undefined;
	return instance === undefined ? undefined : servers.get(instance);
}

function isOwn({ sharing, state }: Attempt): boolean {
	return sharing === undefined && state === 'open';
}

function bySharing({ attempts }: SimulatedGateway): Map<Sharing, Attempt[]> {
	const shared = new Map<Sharing, Attempt[]>();
	for (const attempt of attempts)
		if (attempt.sharing !== undefined) shared.set(attempt.sharing, [...(shared.get(attempt.sharing) ?? []), attempt]);
	return shared;
}

function labels(instances: readonly SimulatedInstance[]): string {
	return instances.map(({ label }) => label).join(' and ');
}
