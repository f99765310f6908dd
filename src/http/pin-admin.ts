/** What may be done to pins, by the command line and by the API alike: looked at, approved and forgotten. */
import { z } from 'zod';
import type { RecordFields } from '../audit/record.ts';
import { SlipwayError } from '../errors.ts';
import { AUDIT_LIMITS } from '../limits.ts';
import { alikeAmong } from '../mcp/alike.ts';
import { difference } from '../mcp/definition.ts';
import type { PinStore, StoredPin } from '../store/contract.ts';

/** A tool of a server, as it is told. What a server said in it is written so that all of it is seen. */
const pinTold = z
	.object({
		server: z.string(),
		tool: z.string(),
		state: z
			.enum(['approved', 'new', 'changed', 'refused'])
			.describe('`new`: never approved. `refused`: it cannot be.'),
		reason: z.string().optional().describe('Why it is refused.'),
		approvedHash: z.string().optional().describe('SHA-256 of the definition that was approved, as canonical JSON.'),
		approvedAt: z.string().optional(),
		shownHash: z.string().describe('The same of what the server says now.'),
		shownAt: z.string(),
		difference: z
			.array(z.string())
			.readonly()
			.optional()
			.describe('From what was approved to what is said now, in lines.'),
		alike: z.array(z.string()).readonly().optional().describe('Tools that it may be taken for, as `server/tool`.'),
	})
	.meta({ id: 'Pin' });
export type PinTold = z.output<typeof pinTold>;
export const pinsTold = z.object({ pins: z.array(pinTold).readonly() });

/** What is approved: a tool, or whatever waits of a server. */
export const approvalSchema = z.strictObject({
	server: z.string(),
	tool: z.string().optional(),
	shownHash: z.string().optional().describe('What was looked at: nothing else is approved then.'),
});

/** Those of all servers, or of one. */
export function listPins(store: PinStore, server?: string): PinTold[] {
	const pins = store.listPins();
	const alike = alikeAmong(pins);
	return pins
		.filter((pin) => server === undefined || pin.server === server)
		.map((pin) => {
			const others = alike.get(pin)?.map((other) => `${other.server}/${other.tool}`);
			return { ...toTold(pin), ...(others === undefined ? {} : { alike: others }) };
		});
}

/**
 * Approves what waits, as it was when it was looked at. Returns the names of the tools.
 *
 * @param input see approvalSchema
 * @throws SlipwayError SLIPWAY_PIN_UNKNOWN where nothing of that name waits, or not as it was; SLIPWAY_PIN_REFUSED for a tool
 *   that cannot be approved; SLIPWAY_PARAMS_INVALID
 */
export function approvePins(store: PinStore, input: unknown): string[] {
	const parsed = approvalSchema.safeParse(input);
	if (!parsed.success)
		throw new SlipwayError('SLIPWAY_PARAMS_INVALID', {
			reason: 'say `server`, and `tool` and `shownHash` where only that is meant',
		});
	const { server, tool, shownHash } = parsed.data;
	const asked = store
		.listPins()
		.filter((pin) => pin.server === server && (tool === undefined || pin.tool === tool) && stateOf(pin) !== 'approved')
		.filter(({ shown }) => shownHash === undefined || shown.hash === shownHash);
	const [refused] = asked.filter(({ flaw }) => flaw !== undefined);
	if (refused !== undefined && (tool !== undefined || asked.length === 1))
		throw new SlipwayError('SLIPWAY_PIN_REFUSED', { server, reason: `${refused.flaw}` });
	const approved = asked.filter((pin) => store.approvePin(pin.server, pin.tool, pin.shown.hash, Date.now()));
	if (approved.length === 0) throw new SlipwayError('SLIPWAY_PIN_UNKNOWN');
	return approved.map((pin) => pin.tool);
}

/** Forgets what was approved of a server: its next list is the first. Throws SLIPWAY_PIN_UNKNOWN. */
export function forgetPins(store: PinStore, server: string): void {
	if (store.deletePins(server) === 0) throw new SlipwayError('SLIPWAY_PIN_UNKNOWN');
}

/** What the audit says of an approval. */
export function describeApproval(
	act: 'approve' | 'forget',
	asked: unknown,
	tools?: readonly string[],
): Pick<RecordFields, 'act' | 'server' | 'tools'> {
	const parsed = approvalSchema.safeParse(asked);
	const server = parsed.success ? parsed.data.server : '';
	return {
		act,
		...(server === '' ? {} : { server: server.slice(0, AUDIT_LIMITS.nameCharsMax) }),
		...(tools === undefined ? {} : { tools: tools.slice(0, AUDIT_LIMITS.catalogNamesMax) }),
	};
}

function stateOf({ approved, shown, flaw }: StoredPin): PinTold['state'] {
	if (flaw !== undefined) return 'refused';
	if (approved === undefined) return 'new';
	return approved.hash === shown.hash ? 'approved' : 'changed';
}

function toTold(pin: StoredPin): PinTold {
	const { server, tool, approved, shown, flaw } = pin;
	const state = stateOf(pin);
	const hasDifference = state !== 'approved' && shown.text !== '';
	return {
		server,
		tool,
		state,
		...(flaw === undefined ? {} : { reason: flaw }),
		...(approved === undefined
			? {}
			: { approvedHash: approved.hash, approvedAt: new Date(approved.atMs).toISOString() }),
		shownHash: shown.hash,
		shownAt: new Date(shown.atMs).toISOString(),
		...(hasDifference ? { difference: difference(approved?.text ?? '', shown.text) } : {}),
	};
}
