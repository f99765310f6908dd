/** Which server behind an aggregated endpoint a request is for, and how it is told to that server. */
import { isObject, own, type RequestMessage } from '../jsonrpc.ts';
import { editMembers } from '../text.ts';
import type { Directory } from './directory.ts';
import type { MemberConversation } from './members.ts';
import { splitName } from './names.ts';

export interface Route {
	/** Undefined: nobody is known to be asked. */
	readonly server: string | undefined;
	/** The request as that server knows it. */
	readonly text: string;
	readonly message: RequestMessage;
}

/** Where a request goes. What it names is looked up in the lists of all, if need be. */
export async function routeOf<C extends MemberConversation>(
	directory: Directory<C>,
	text: string,
	message: RequestMessage,
): Promise<Route> {
	const { method, params = {} } = message;
	switch (method) {
		case 'tools/call':
		case 'prompts/get':
			return withName(text, message);
		case 'resources/read':
		case 'resources/subscribe':
		case 'resources/unsubscribe': {
			const uri = own(params, 'uri');
			return { server: typeof uri === 'string' ? await directory.ownerOfResource(uri) : undefined, text, message };
		}
		case 'completion/complete':
			return completion(directory, text, message);
		default: {
			const taskId = own(params, 'taskId');
			return { server: typeof taskId === 'string' ? directory.ownerOfTask(taskId) : undefined, text, message };
		}
	}
}

/** Whether a request is for a tool or prompt, whose name says which server has it. */
export function isNamed({ method, params = {} }: RequestMessage): boolean {
	const ref = own(params, 'ref');
	return method === 'tools/call' || method === 'prompts/get' || (isObject(ref) && own(ref, 'name') !== undefined);
}

/** A request for a tool or prompt, by its name alone: without a look at any list. */
export function withName(text: string, message: RequestMessage): Route {
	const params = message.params ?? {};
	const joined = own(params, 'name');
	const split = typeof joined === 'string' ? splitName(joined) : undefined;
	if (split === undefined) return { server: undefined, text, message };
	const name = JSON.stringify(split.name);
	return {
		server: split.server,
		text: editMembers(text, { params: (old = '{}') => editMembers(old, { name }) }),
		message: { ...message, params: { ...params, name: split.name } },
	};
}

async function completion<C extends MemberConversation>(
	directory: Directory<C>,
	text: string,
	message: RequestMessage,
): Promise<Route> {
	const params = message.params ?? {};
	const ref = own(params, 'ref');
	if (!isObject(ref)) return { server: undefined, text, message };
	const uri = own(ref, 'uri');
	if (typeof uri === 'string') {
		const server = (await directory.ownerOfTemplate(uri)) ?? (await directory.ownerOfResource(uri));
		return { server, text, message };
	}
	const joined = own(ref, 'name');
	const split = typeof joined === 'string' ? splitName(joined) : undefined;
	if (split === undefined) return { server: undefined, text, message };
	const name = JSON.stringify(split.name);
	return {
		server: split.server,
		text: editMembers(text, {
			params: (old = '{}') => editMembers(old, { ref: (oldRef = '{}') => editMembers(oldRef, { name }) }),
		}),
		message: { ...message, params: { ...params, ref: { ...ref, name: split.name } } },
	};
}
