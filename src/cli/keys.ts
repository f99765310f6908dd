/** `slipway keys`: who may call, and what. It works on the store itself, and a gateway that runs sees it within a moment. */
import { readConfig } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import {
	createKey,
	describeKey,
	type KeyView,
	listKeys,
	type MadeKey,
	revokeKey,
	rotateKey,
} from '../http/key-admin.ts';
import { bytesOf } from '../sizes.ts';
import { openSqliteStore } from '../store/sqlite.ts';
import { audited, UNRECORDED } from './audited.ts';
import type { Invocation } from './invocation.ts';
import { formatTable } from './terminal.ts';
import { type Asked, defineVerb } from './verb.ts';

const HELP = `slipway keys <create | list | rotate | revoke> [name] [options]

  create <name>   makes a key and shows it, this once
    --servers a,b     servers that it may use; \`*\` stands for any characters
    --groups g        groups of the catalog, and their servers
    --tools a/x,b/y_* tools of servers, and nothing else of these
    --all             every server and group
    --admin           /status, /metrics and /api too
    --rate 600        calls of one server in a minute
    --calls-in-flight 32, --sessions 8, --containers 8
                      what it may have at once, at all servers together
    --bytes 64m       what it may send in a minute
    --expires 30d     after so many days (d), hours (h) or minutes (m), or at a time like 2027-01-31T00:00:00Z
  list            the keys that there are, and what each may do
  rotate <name>   another key for the same caller; the old one is worth nothing from then on
  revoke <name>   the key is worth nothing from then on, and what it has open ends

  --json          for programs

A gateway that runs sees it at once. SLIPWAY_DATA says where the keys are kept.`;

const MS_OF_UNIT: Readonly<Record<string, number>> = Object.freeze({ m: 60_000, h: 3_600_000, d: 86_400_000 });

const OPTIONS = {
	servers: { type: 'string' },
	groups: { type: 'string' },
	tools: { type: 'string' },
	all: { type: 'boolean' },
	admin: { type: 'boolean' },
	rate: { type: 'string' },
	'calls-in-flight': { type: 'string' },
	sessions: { type: 'string' },
	containers: { type: 'string' },
	bytes: { type: 'string' },
	expires: { type: 'string' },
} as const;

export const keys = defineVerb({ help: HELP, options: OPTIONS, run });

async function run(
	{ values, positionals }: Asked<typeof OPTIONS>,
	{ environment, print }: Invocation,
): Promise<0 | 'misused'> {
	const [action, name, ...rest] = positionals;
	const needsName = action === 'create' || action === 'rotate' || action === 'revoke';
	if ((!needsName && action !== 'list') || needsName !== (name !== undefined) || rest.length > 0) return 'misused';
	const config = readConfig(environment);
	const store = openSqliteStore(config.dataDir);
	try {
		if (action === 'list') print(values.json ? JSON.stringify({ keys: listKeys(store) }) : table(listKeys(store)));
		else if (action === 'revoke') {
			const { recorded } = await audited(config, {
				event: 'key',
				describe: () => ({ act: action, ...describeKey(name, undefined) }),
				run: () => revokeKey(store, name ?? ''),
			});
			if (!recorded && !values.json) print(UNRECORDED);
			print(values.json ? JSON.stringify({ revoked: name }) : `${name} is revoked: its key is worth nothing any more.`);
		} else {
			const { result: made, recorded } = await audited(config, {
				event: 'key',
				describe: (result?: MadeKey) => ({ act: action ?? '', ...describeKey(name, result) }),
				run: () =>
					action === 'rotate'
						? rotateKey(store, name ?? '')
						: createKey(store, { name, scopes: scopesOf(values), ...limitsOf(values), ...expiryOf(values.expires) }),
			});
			if (!recorded && !values.json) print(UNRECORDED);
			print(values.json ? JSON.stringify(made) : describe(made));
		}
		return 0;
	} finally {
		store.close();
	}
}

interface Wanted {
	readonly servers?: string | undefined;
	readonly groups?: string | undefined;
	readonly tools?: string | undefined;
	readonly all?: boolean | undefined;
	readonly admin?: boolean | undefined;
}

function scopesOf({ servers, groups, tools, all, admin }: Wanted): string[] {
	const named = (kind: string, list = ''): string[] =>
		list
			.split(',')
			.map((item) => item.trim())
			.filter((item) => item !== '')
			.map((item) => `${kind}:${item}`);
	const scopes = [
		...(all ? ['*'] : []),
		...named('server', servers),
		...named('group', groups),
		...named('tool', tools),
		...(admin ? ['admin'] : []),
	];
	if (scopes.length === 0)
		throw new SlipwayError('SLIPWAY_KEY_INVALID', {
			reason: 'say what it may use: --servers, --groups, --tools, --admin, or --all for everything that is served',
		});
	return scopes;
}

interface Bounds {
	readonly rate?: string | undefined;
	readonly 'calls-in-flight'?: string | undefined;
	readonly sessions?: string | undefined;
	readonly containers?: string | undefined;
	readonly bytes?: string | undefined;
}

function limitsOf({ rate, sessions, containers, bytes, ...rest }: Bounds): object {
	// What is no number is refused where every key is looked at.
	const toNumber = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text));
	const limits = {
		callsInFlight: toNumber(rest['calls-in-flight']),
		sessions: toNumber(sessions),
		containers: toNumber(containers),
		bytesPerMinute: bytes === undefined ? undefined : bytesOf(bytes),
	};
	const said = Object.values(limits).some((limit) => limit !== undefined);
	return { ...(rate === undefined ? {} : { callsPerMinute: Number(rate) }), ...(said ? { limits } : {}) };
}

function expiryOf(text: string | undefined): { expiresAt?: string } {
	if (text === undefined) return {};
	const [, count, unit = ''] = /^([1-9][0-9]{0,4})([mhd])$/.exec(text) ?? [];
	if (count === undefined) return { expiresAt: text };
	return { expiresAt: new Date(Date.now() + Number(count) * (MS_OF_UNIT[unit] ?? Number.NaN)).toISOString() };
}

function describe({ key, name, scopes, expiresAt }: MadeKey): string {
	return [
		`The key of ${name}, shown this once and kept only as a hash:`,
		'',
		`  ${key}`,
		'',
		`It may use ${scopes.join(' ')}${expiresAt === undefined ? '' : `, until ${expiresAt}`}.`,
	].join('\n');
}

function table(views: readonly KeyView[]): string {
	if (views.length === 0) return 'There are no keys yet: the first start of the gateway makes the first.';
	const rows = views.map(({ name, scopes, createdAt, expiresAt, expired }) => [
		name,
		scopes.join(' '),
		createdAt,
		expired ? 'expired' : (expiresAt ?? 'never'),
	]);
	return formatTable([['NAME', 'SCOPES', 'MADE', 'EXPIRES'], ...rows]);
}
