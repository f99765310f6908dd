/**
 * Which capability of a client a question needs, and whether the client has declared it.
 *
 * Source: https://modelcontextprotocol.io/specification/2026-07-28/schema#clientcapabilities
 */
import { isObject, own, type RequestMessage } from './jsonrpc.ts';

/**
 * What a client must have declared for a question to be put to it, as `ClientCapabilities`.
 * Undefined for what is no question of the protocol.
 */
export function neededFor({ method, params = {} }: RequestMessage): Readonly<Record<string, object>> | undefined {
	switch (method) {
		case 'roots/list':
			return { roots: {} };
		case 'sampling/createMessage':
			return own(params, 'tools') === undefined && own(params, 'toolChoice') === undefined
				? { sampling: {} }
				: { sampling: { tools: {} } };
		case 'elicitation/create':
			return { elicitation: own(params, 'mode') === 'url' ? { url: {} } : { form: {} } };
		default:
			return undefined;
	}
}

/** Whether a client's capabilities hold all that is needed. */
export function declares(capabilities: object, needed: Readonly<Record<string, object>>): boolean {
	return Object.entries(needed).every(([name, parts]) => {
		const declared = own(capabilities, name);
		if (!isObject(declared)) return false;
		// Forms are what an elicitation capability without parts means: they came first.
		const formsOnly = name === 'elicitation' && Object.keys(declared).length === 0;
		return Object.keys(parts).every((part) => isObject(own(declared, part)) || (formsOnly && part === 'form'));
	});
}
