/**
 * The table of conversations: found by caller, endpoint and, where the server was told of its client, by what the
 * request says of the client.
 */
import { hash } from 'node:crypto';
import { canonical } from '../mcp/canonical.ts';
import { own } from '../mcp/jsonrpc.ts';
import type { ModernRequest } from '../mcp/modern-server.ts';
import type { Target } from '../pool/target.ts';
import { Conversation, type ConversationDependencies } from './conversation.ts';
import type { Principal } from './principal.ts';
import type { Tenants } from './tenants.ts';

/** Before the number of a conversation that takes nothing new; no client is known by such a name. */
const STALE = 'stale ';

/** INVARIANT: a conversation is in the table from its creation until it is over, and never after. */
export class Conversations {
	readonly #dependencies: ConversationDependencies;
	readonly #tenants: Tenants;
	/** By caller and endpoint, and within that by client; '' is for all clients. */
	readonly #conversations = new Map<string, Map<string, Conversation>>();

	#lastStale = 0;

	constructor(dependencies: ConversationDependencies, tenants: Tenants) {
		this.#dependencies = dependencies;
		this.#tenants = tenants;
	}

	get size(): number {
		let count = 0;
		for (const ofCaller of this.#conversations.values()) count += ofCaller.size;
		return count;
	}

	/** Whether a request belongs to a conversation that there is. */
	has(of: { principal: Principal; target: Target }, request: ModernRequest): boolean {
		const { ofCaller, client } = this.#place(of, request);
		return ofCaller !== undefined && (findByState(ofCaller, request) ?? ofCaller.get(client)) !== undefined;
	}

	/** The conversation that a request belongs to, or a new one. Throws SLIPWAY_SESSIONS_FULL or SLIPWAY_DRAINING. */
	find({ principal, target }: { principal: Principal; target: Target }, request: ModernRequest): Conversation {
		const { key, client, ofCaller = new Map<string, Conversation>() } = this.#place({ principal, target }, request);
		const found = findByState(ofCaller, request) ?? ofCaller.get(client);
		if (found !== undefined) {
			found.target.become(target);
			return found;
		}
		this.#tenants.makePlace(principal);
		const conversation = new Conversation(this.#dependencies, {
			principal,
			target,
			envelope: request.envelope,
			makeRoom: () => this.#tenants.makeRoom(principal),
			onShared: (shared) => {
				const other = ofCaller.get('');
				if (other === undefined) ofCaller.set('', shared);
				return other === shared ? undefined : other;
			},
			onStale: (stale) => {
				// Who was asked something comes back to it all the same.
				for (const [known, value] of ofCaller)
					if (value === stale && !known.startsWith(STALE)) {
						ofCaller.delete(known);
						ofCaller.set(`${STALE}${++this.#lastStale}`, stale);
					}
			},
			onEnd: (ended) => {
				for (const [known, value] of ofCaller) if (value === ended) ofCaller.delete(known);
				if (ofCaller.size === 0 && this.#conversations.get(key) === ofCaller) this.#conversations.delete(key);
				this.#tenants.remove(ended);
			},
		});
		this.#conversations.set(key, ofCaller);
		ofCaller.set(client, conversation);
		this.#tenants.add(conversation);
		return conversation;
	}

	#place({ principal, target }: { principal: Principal; target: Target }, { envelope }: ModernRequest) {
		const key = `${principal.id}\n${target.name}`;
		const { capabilities, clientInfo = {} } = envelope;
		const client = target.speaksModern ? '' : hash('sha256', canonical({ capabilities, clientInfo }));
		return { key, client, ofCaller: this.#conversations.get(key) };
	}
}

/** Who comes back with answers goes on where the question came from, whatever it now says of itself. */
function findByState(ofCaller: Map<string, Conversation>, { message }: ModernRequest): Conversation | undefined {
	const state = message.params === undefined ? undefined : own(message.params, 'requestState');
	if (typeof state !== 'string') return undefined;
	for (const conversation of ofCaller.values()) if (conversation.holds(state, message)) return conversation;
	return undefined;
}
