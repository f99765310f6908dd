/**
 * subscriptions/listen of clients of the second era, over a server of the first, which tells of changes unasked and has
 * resources/subscribe for the rest.
 *
 * Source: https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions
 */
import { SlipwayError } from '../errors.ts';
import { BRIDGE_LIMITS } from '../limits.ts';
import type { Call, Reply } from './exchange.ts';
import { isObject, type NotificationMessage, notificationText, own, type RequestMessage } from './jsonrpc.ts';
import { endSubscription } from './modern-server.ts';
import { SUBSCRIPTION_KEY } from './revisions.ts';
import type { Subscriptions } from './subscriptions.ts';
import { editMembers } from './text.ts';

/** The parts of a listener's filter, the capability that each needs, and what it lets through. */
export const CHANGES = Object.freeze([
	{ filter: 'toolsListChanged', capability: 'tools', method: 'notifications/tools/list_changed' },
	{ filter: 'promptsListChanged', capability: 'prompts', method: 'notifications/prompts/list_changed' },
	{ filter: 'resourcesListChanged', capability: 'resources', method: 'notifications/resources/list_changed' },
]);

interface Listener {
	readonly request: RequestMessage;
	readonly reply: Reply;
	readonly methods: ReadonlySet<string>;
	readonly uris: Set<string>;
	/** Whether it was told what it is subscribed to, which must come before anything else. */
	acknowledged: boolean;
}

export interface ListenersOptions {
	/** The capabilities of the server. */
	readonly capabilities: object;
	readonly subscriptions: Subscriptions;
}

/** INVARIANT: a listener wants its resources from its beginning to its end, but for those that the server refused. */
export class Listeners {
	readonly #options: ListenersOptions;
	readonly #listeners = new Set<Listener>();

	constructor(options: ListenersOptions) {
		this.#options = options;
	}

	/** @throws SlipwayError SLIPWAY_PARAMS_INVALID, SLIPWAY_CALLS_FULL */
	listen(request: RequestMessage, reply: Reply): Call {
		const { filter, uris } = readFilter(request);
		const honoured = CHANGES.filter(
			(change) => filter.has(change.filter) && this.#has(change.capability, 'listChanged'),
		);
		const listener: Listener = {
			request,
			reply,
			methods: new Set(honoured.map(({ method }) => method)),
			uris: new Set(this.#has('resources', 'subscribe') ? uris : []),
			acknowledged: false,
		};
		const { subscriptions } = this.#options;
		const added = [...listener.uris].filter((uri) => !subscriptions.has(uri)).length;
		if (
			subscriptions.size + added > BRIDGE_LIMITS.subscriptionsMax ||
			this.#listeners.size >= BRIDGE_LIMITS.subscriptionsMax
		)
			throw new SlipwayError('SLIPWAY_CALLS_FULL', { retryAfterSeconds: 1 });
		this.#listeners.add(listener);
		void this.#acknowledge(listener, Object.fromEntries(honoured.map((change) => [change.filter, true])));
		return { cancel: () => this.#drop(listener) };
	}

	/** Passes a change on to those who want to hear of it. */
	tell(text: string, { method, params }: NotificationMessage): void {
		const uri = params === undefined ? undefined : own(params, 'uri');
		for (const { acknowledged, methods, reply, request, uris } of this.#listeners) {
			const wanted =
				method === 'notifications/resources/updated' ? typeof uri === 'string' && uris.has(uri) : methods.has(method);
			if (wanted && acknowledged) reply.related(withSubscription(text, request));
		}
	}

	/** Ends all: with a result where the end was ours, so that clients know it for no accident. */
	end(reason: SlipwayError): void {
		for (const { request, reply } of this.#listeners) {
			if (reason.code === 'SLIPWAY_SESSION_ENDED') endSubscription(reply, request.id);
			else reply.fail(request.id, reason);
		}
		this.#listeners.clear();
		this.#options.subscriptions.clear();
	}

	async #acknowledge(listener: Listener, changes: Record<string, boolean>): Promise<void> {
		await Promise.all(
			[...listener.uris].map(async (uri) => {
				if (await this.#options.subscriptions.want(uri)) return;
				if (listener.uris.delete(uri)) this.#options.subscriptions.letGo(uri);
			}),
		);
		if (!this.#listeners.has(listener)) return;
		const { request, reply, uris } = listener;
		listener.acknowledged = true;
		reply.related(
			notificationText('notifications/subscriptions/acknowledged', {
				_meta: { [SUBSCRIPTION_KEY]: request.id },
				notifications: { ...changes, ...(uris.size === 0 ? {} : { resourceSubscriptions: [...uris] }) },
			}),
		);
	}

	#drop(listener: Listener): void {
		if (!this.#listeners.delete(listener)) return;
		for (const uri of listener.uris) this.#options.subscriptions.letGo(uri);
		listener.uris.clear();
	}

	#has(capability: string, part: string): boolean {
		const declared = own(this.#options.capabilities, capability);
		return isObject(declared) && own(declared, part) === true;
	}
}

/** What a listener asks for. Throws SLIPWAY_PARAMS_INVALID. */
export function readFilter({ params = {} }: RequestMessage): { filter: ReadonlySet<string>; uris: readonly string[] } {
	const notifications = own(params, 'notifications');
	if (!isObject(notifications))
		throw new SlipwayError('SLIPWAY_PARAMS_INVALID', { reason: '`params.notifications` is missing or wrong.' });
	const uris = own(notifications, 'resourceSubscriptions') ?? [];
	if (!Array.isArray(uris) || !uris.every((uri) => typeof uri === 'string'))
		throw new SlipwayError('SLIPWAY_PARAMS_INVALID', {
			reason: '`params.notifications.resourceSubscriptions` must be an array of URIs.',
		});
	return { filter: new Set(Object.keys(notifications).filter((key) => own(notifications, key) === true)), uris };
}

/** A notification as one of the subscription that a request opened. */
export function withSubscription(text: string, { id }: RequestMessage): string {
	const tagged = { [SUBSCRIPTION_KEY]: JSON.stringify(id) };
	return editMembers(text, {
		params: (params = '{}') => editMembers(params, { _meta: (meta = '{}') => editMembers(meta, tagged) }),
	});
}
