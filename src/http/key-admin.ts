/** What may be done to keys, by the command line and by the API alike: made, listed, rotated and revoked. */
import { z } from 'zod';
import type { RecordFields } from '../audit/record.ts';
import { SlipwayError } from '../errors.ts';
import { BUDGET_LIMITS, POLICY_LIMITS, SESSION_LIMITS } from '../limits.ts';
import { isScope } from '../policy/access.ts';
import type { KeyStore, StoredKey } from '../store/contract.ts';
import { hashKey, makeKey, OPERATOR } from './keys.ts';

function atLeastOne(max: number) {
	return z.int('a whole number').min(1, 'at least 1').max(max, `at most ${max}`).optional();
}

/** What a key is to be. */
export const newKeySchema = z.strictObject({
	name: z
		.string()
		.max(POLICY_LIMITS.keyNameCharsMax)
		.regex(
			/^[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?$/,
			'a name of a-z, 0-9, ".", "_" and "-", a letter or digit first and last',
		),
	scopes: z
		.array(
			z.string().refine(isScope, 'scopes are `*`, `server:<name>`, `group:<name>`, `tool:<server>/<name>` and `admin`'),
		)
		.min(1, 'at least one scope: a key without one may do nothing')
		.max(POLICY_LIMITS.scopesMax),
	callsPerMinute: z.int('a whole number').min(1, 'at least 1').max(POLICY_LIMITS.callsPerMinuteSaidMax).optional(),
	limits: z
		.strictObject({
			callsInFlight: atLeastOne(BUDGET_LIMITS.callsInFlightSaidMax),
			sessions: atLeastOne(SESSION_LIMITS.sessionsMax),
			containers: atLeastOne(BUDGET_LIMITS.containersSaidMax),
			bytesPerMinute: atLeastOne(BUDGET_LIMITS.bytesPerMinuteSaidMax),
		})
		.optional(),
	expiresAt: z.iso.datetime({ offset: true, error: 'a time like 2027-01-31T00:00:00Z' }).optional(),
});

/** A key as it is told: never the key itself, nor its hash. */
const keyTold = z
	.object({
		...newKeySchema.omit({ name: true, scopes: true }).shape,
		name: z.string(),
		scopes: z.array(z.string()).readonly(),
		createdAt: z.string(),
		callsPerMinute: newKeySchema.shape.callsPerMinute.describe('Calls of one server in a minute.'),
		expired: z.literal(true).optional(),
	})
	.meta({ id: 'Key' });
export type KeyView = z.output<typeof keyTold>;
export const keysTold = z.object({ keys: z.array(keyTold).readonly() });

/** A key that was made just now. */
export const madeKeyTold = keyTold
	.extend({ key: z.string().describe('To be shown once: it is kept as a hash only.') })
	.meta({ id: 'MadeKey' });
export type MadeKey = z.output<typeof madeKeyTold>;

export type NewKey = z.output<typeof newKeySchema>;

/** Throws SLIPWAY_KEY_INVALID, SLIPWAY_KEY_EXISTS or SLIPWAY_KEYS_FULL. */
export function createKey(store: KeyStore, input: unknown): MadeKey {
	const { name, scopes, callsPerMinute, limits, expiresAt } = parse(input);
	const known = store.listKeys();
	if (known.some((key) => key.name === name)) throw new SlipwayError('SLIPWAY_KEY_EXISTS');
	if (known.length >= POLICY_LIMITS.keysMax) throw new SlipwayError('SLIPWAY_KEYS_FULL');
	const key = makeKey();
	const stored: StoredKey = {
		name,
		hash: hashKey(key),
		scopes,
		createdAtMs: Date.now(),
		...(callsPerMinute === undefined ? {} : { callsPerMinute }),
		...(limits === undefined ? {} : { limits }),
		...(expiresAt === undefined ? {} : { expiresAtMs: Date.parse(expiresAt) }),
	};
	store.saveKey(stored);
	return { ...toView(stored), key };
}

export function listKeys(store: KeyStore): KeyView[] {
	return store.listKeys().map(toView);
}

/** Another key for the same caller; the one that it had is worth nothing from then on. Throws SLIPWAY_KEY_UNKNOWN. */
export function rotateKey(store: KeyStore, name: string): MadeKey {
	const known = store.listKeys().find((key) => key.name === name);
	if (known === undefined) throw new SlipwayError('SLIPWAY_KEY_UNKNOWN');
	const key = makeKey();
	const stored = { ...known, hash: hashKey(key), createdAtMs: Date.now() };
	store.saveKey(stored);
	return { ...toView(stored), key };
}

/** Throws SLIPWAY_KEY_UNKNOWN. The operator's is made anew at the next start, if there is no other in the settings. */
export function revokeKey(store: KeyStore, name: string): void {
	if (!store.deleteKey(name)) throw new SlipwayError('SLIPWAY_KEY_UNKNOWN');
}

/** What the audit says of a key that something was done to: never the key itself. A name that is none is not repeated. */
export function describeKey(named: string | undefined, result: unknown): Pick<RecordFields, 'key' | 'scopes'> {
	if (typeof result === 'object' && result !== null && 'name' in result && 'scopes' in result) {
		const { name, scopes } = result as MadeKey;
		return { key: name, scopes };
	}
	return newKeySchema.shape.name.safeParse(named).success && named !== undefined ? { key: named } : {};
}

function parse(input: unknown): NewKey {
	const parsed = newKeySchema.safeParse(input);
	if (!parsed.success) {
		const reason = parsed.error.issues
			.map(({ path, message }) => (path.length === 0 ? message : `\`${path.join('.')}\`: ${message}`))
			.join('; ');
		throw new SlipwayError('SLIPWAY_KEY_INVALID', { reason });
	}
	if (parsed.data.name === OPERATOR) throw new SlipwayError('SLIPWAY_KEY_EXISTS');
	if (parsed.data.expiresAt !== undefined && Date.parse(parsed.data.expiresAt) <= Date.now())
		throw new SlipwayError('SLIPWAY_KEY_INVALID', { reason: '`expiresAt`: a time that is still to come' });
	return parsed.data;
}

function toView({ name, scopes, createdAtMs, callsPerMinute, limits, expiresAtMs }: StoredKey): KeyView {
	return {
		name,
		scopes,
		createdAt: new Date(createdAtMs).toISOString(),
		...(callsPerMinute === undefined ? {} : { callsPerMinute }),
		...(limits === undefined ? {} : { limits }),
		...(expiresAtMs === undefined ? {} : { expiresAt: new Date(expiresAtMs).toISOString() }),
		...(expiresAtMs !== undefined && expiresAtMs <= Date.now() ? { expired: true } : {}),
	};
}
