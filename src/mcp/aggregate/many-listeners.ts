/** subscriptions/listen at an aggregated endpoint: one subscription of the client, and one at each server behind. */

import { AGGREGATE_LIMITS } from '../../limits.ts';
import type { Call, Reply } from '../exchange.ts';
import { isObject, notificationText, own } from '../jsonrpc.ts';
import { CHANGES, readFilter, withSubscription } from '../listeners.ts';
import { endSubscription, type ModernRequest, type ModernServer } from '../modern-server.ts';
import { SUBSCRIPTION_KEY } from '../revisions.ts';
import { editMembers } from '../text.ts';
import { within } from './within.ts';

type NamedServer = readonly [name: string, server: ModernServer];

export interface ManyListenersOptions {
	/** Has those servers come, and those of which nothing is known, if they do within the time that a list waits. */
	readonly open: (names: readonly string[]) => Promise<void>;
	/** The servers that are there. */
	readonly present: () => readonly NamedServer[];
	/** The name of the server whose a resource is. */
	readonly ownerOf: (uri: string) => Promise<string | undefined>;
}

interface Listener {
	readonly request: ModernRequest;
	readonly reply: Reply;
	/** The parts of its filter that are lists. */
	readonly lists: Readonly<Record<string, true>>;
	readonly methods: ReadonlySet<string>;
	/** The resources that it wants, by the names of their servers. */
	readonly uris: Map<string, string[]>;
	/** Its subscriptions at the servers. */
	readonly parts: Map<ModernServer, Call>;
	acknowledged: boolean;
}

/** INVARIANT: a listener hears nothing before it was told what it is subscribed to, and is told that once. */
export class ManyListeners {
	readonly #options: ManyListenersOptions;
	readonly #listeners = new Set<Listener>();

	constructor(options: ManyListenersOptions) {
		this.#options = options;
	}

	/** @throws SlipwayError SLIPWAY_PARAMS_INVALID */
	listen(request: ModernRequest, reply: Reply): Call {
		const { filter, uris } = readFilter(request.message);
		const wanted = CHANGES.filter((change) => filter.has(change.filter));
		const listener: Listener = {
			request,
			reply,
			lists: Object.fromEntries(wanted.map((change) => [change.filter, true as const])),
			methods: new Set(wanted.map(({ method }) => method)),
			uris: new Map(),
			parts: new Map(),
			acknowledged: false,
		};
		this.#listeners.add(listener);
		void this.#begin(listener, uris);
		return { cancel: () => this.#drop(listener) };
	}

	/** A server has come, or come back, after listeners had begun: they want to hear of its changes too. */
	join(name: string, server: ModernServer): void {
		for (const listener of this.#listeners) if (listener.acknowledged) void this.#subscribe(listener, name, server);
	}

	/** Whether somebody wants to hear of resources of that server. */
	wants(name: string): boolean {
		for (const { uris } of this.#listeners) if (uris.has(name)) return true;
		return false;
	}

	/** Tells of a change that is the endpoint's own. */
	tell(text: string, method: string): void {
		for (const { acknowledged, methods, reply, request } of this.#listeners)
			if (acknowledged && methods.has(method)) reply.related(withSubscription(text, request.message));
	}

	/** Ends all, with a result, so that clients know the end for no accident. */
	end(): void {
		for (const listener of this.#listeners) {
			endSubscription(listener.reply, listener.request.message.id);
			for (const part of listener.parts.values()) part.cancel();
		}
		this.#listeners.clear();
	}

	async #begin(listener: Listener, uris: readonly string[]): Promise<void> {
		for (const uri of uris) {
			const owner = await this.#options.ownerOf(uri).catch(() => undefined);
			if (owner !== undefined) listener.uris.set(owner, [...(listener.uris.get(owner) ?? []), uri]);
		}
		// One whose lists are known has no news of them while it is not there. It joins when it comes.
		await this.#options.open([...listener.uris.keys()]);
		const servers = this.#options.present();
		const taken = await Promise.all(
			servers.map(([name, server]) => within(this.#subscribe(listener, name, server), AGGREGATE_LIMITS.listWaitMs)),
		);
		if (!this.#listeners.has(listener)) return;
		listener.acknowledged = true;
		// Who came in the meantime; who refused is not asked again.
		const asked = new Set(servers.map(([, server]) => server));
		for (const [name, server] of this.#options.present())
			if (!asked.has(server)) void this.#subscribe(listener, name, server);
		const subscribed = taken.flatMap((resources) => resources ?? []);
		listener.reply.related(
			notificationText('notifications/subscriptions/acknowledged', {
				_meta: { [SUBSCRIPTION_KEY]: listener.request.message.id },
				notifications: {
					...listener.lists,
					...(subscribed.length === 0 ? {} : { resourceSubscriptions: subscribed }),
				},
			}),
		);
	}

	/** Subscribes at one server. Resolves with the resources that it took. */
	#subscribe(listener: Listener, name: string, server: ModernServer): Promise<readonly string[]> {
		const uris = listener.uris.get(name) ?? [];
		if (listener.parts.has(server) || !this.#listeners.has(listener)) return Promise.resolve([]);
		const { promise, resolve } = Promise.withResolvers<readonly string[]>();
		const notifications = { ...listener.lists, ...(uris.length === 0 ? {} : { resourceSubscriptions: uris }) };
		const { text, message, envelope } = listener.request;
		const params = { ...message.params, notifications };
		const part = {
			text: editMembers(text, {
				params: (old = '{}') => editMembers(old, { notifications: JSON.stringify(notifications) }),
			}),
			message: { ...message, params },
			envelope,
		};
		const over = (): void => {
			listener.parts.delete(server);
			resolve([]);
		};
		try {
			const call = server.request(part, {
				get attached() {
					return listener.reply.attached;
				},
				related: (told) => {
					const acknowledged = acknowledgedUris(told);
					if (acknowledged === undefined) {
						if (listener.acknowledged) listener.reply.related(told);
					} else resolve(acknowledged);
				},
				answer: over,
				fail: over,
				drop: over,
			});
			listener.parts.set(server, call);
		} catch {
			over();
		}
		return promise;
	}

	#drop(listener: Listener): void {
		if (!this.#listeners.delete(listener)) return;
		for (const part of listener.parts.values()) part.cancel();
		listener.reply.drop();
	}
}

/** The resources of an acknowledgement; undefined for any other message. */
function acknowledgedUris(text: string): readonly string[] | undefined {
	if (!text.includes('notifications/subscriptions/acknowledged')) return undefined;
	const value: unknown = JSON.parse(text);
	if (!isObject(value) || own(value, 'method') !== 'notifications/subscriptions/acknowledged') return undefined;
	const params = own(value, 'params');
	const notifications = isObject(params) ? own(params, 'notifications') : undefined;
	const uris = isObject(notifications) ? own(notifications, 'resourceSubscriptions') : undefined;
	return Array.isArray(uris) ? uris.filter((uri) => typeof uri === 'string') : [];
}
