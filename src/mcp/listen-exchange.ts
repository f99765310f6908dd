/** A subscription of ours (2026-07-28), for a client of the first era: changes go to it as they did before there were any. */
import { RPC_CODES, type SlipwayError } from '../errors.ts';
import type { Exchange, Question, Standing } from './exchange.ts';
import { isObject, type NotificationMessage, own, type ResponseMessage, type RpcError, type RpcId } from './jsonrpc.ts';
import { SUBSCRIPTION_KEY } from './revisions.ts';
import { editMembers } from './text.ts';

export interface ListenOptions {
	/** Where changes go. */
	readonly standing: Standing;
	/** The resource that it is for; undefined for lists. */
	readonly uri: string | undefined;
	/** Hears once whether the server took it. */
	readonly onBegun: (refusal: RpcError | undefined) => void;
	/** Called when it is over, whoever ended it. */
	readonly onOver: () => void;
}

export class ListenExchange implements Exchange {
	readonly #options: ListenOptions;
	#begun = false;

	constructor(options: ListenOptions) {
		this.#options = options;
	}

	takes(): boolean {
		return false;
	}

	tell(text: string, message: NotificationMessage): void {
		if (message.method === 'notifications/subscriptions/acknowledged') return this.#begin(this.#refusalIn(message));
		const bare = editMembers(text, {
			params: (params = '{}') =>
				editMembers(params, {
					_meta: (meta = '{}') => {
						const left = editMembers(meta, { [SUBSCRIPTION_KEY]: undefined });
						return left === '{}' ? undefined : left;
					},
				}),
		});
		this.#options.standing.send(bare, message);
	}

	ask(_: Question): void {}

	answer(_: string, message: ResponseMessage): void {
		this.#end(message.ok ? undefined : message.error);
	}

	fail(_: RpcId, error: SlipwayError): void {
		this.#end({ code: error.row.rpcCode, message: error.message });
	}

	drop(): void {
		this.#end(undefined);
	}

	/** A server tells of resources that it does not know by leaving them out. */
	#refusalIn({ params = {} }: NotificationMessage): RpcError | undefined {
		const { uri } = this.#options;
		if (uri === undefined) return undefined;
		const taken = own(params, 'notifications');
		const uris = isObject(taken) ? own(taken, 'resourceSubscriptions') : undefined;
		if (Array.isArray(uris) && uris.includes(uri)) return undefined;
		return { code: RPC_CODES.invalidParams, message: 'The server does not tell of changes to this resource.' };
	}

	#begin(refusal: RpcError | undefined): void {
		if (this.#begun) return;
		this.#begun = true;
		this.#options.onBegun(refusal);
	}

	#end(refusal: RpcError | undefined): void {
		this.#options.onOver();
		this.#begin(refusal);
	}
}
