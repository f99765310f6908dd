/** `slipway check`: reads a catalog, says what is wrong with it, and what it would change of what runs. */
import { type Difference, differenceOf, fingerprintsOf, isNone } from '../catalog/difference.ts';
import { loadCatalog } from '../catalog/load.ts';
import { readConfig } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import { catalogWholeTold } from '../http/told.ts';
import { GATEWAY_HELP, GATEWAY_OPTIONS, withGateway } from './gateway.ts';
import { defineVerb } from './verb.ts';

const HELP = `slipway check [path] [options]

Reads a catalog (a file, or a folder with a catalog.json; default: SLIPWAY_CATALOG) and says what is wrong with it. Nothing is
changed by it.

  --diff               what would be other than what runs now, if this were the catalog; asks the gateway
${GATEWAY_HELP}
  --json               for programs`;

export const check = defineVerb({
	help: HELP,
	options: { ...GATEWAY_OPTIONS, diff: { type: 'boolean' } },
	run: async ({ values, positionals }, invocation) => {
		if (positionals.length > 1) return 'misused';
		const { environment, print } = invocation;
		const path = positionals[0] ?? readConfig(environment).catalogPath;
		try {
			const catalog = await loadCatalog(path, environment);
			const { servers, groups } = catalog;
			const found = {
				servers: [...servers.keys()],
				...(groups.size === 0 ? {} : { groups: [...groups.keys()] }),
			};
			const tell = (difference?: Difference): void => {
				if (values.json) return print(JSON.stringify({ ok: true, ...found, ...(difference && { difference }) }));
				print(`The catalog is good: ${describe(found)}.`);
				if (difference !== undefined) print(describeDifference(difference));
			};
			if (!values.diff) {
				tell();
				return 0;
			}
			return await withGateway(invocation, values, {
				scopes: ['admin'],
				use: async (gateway) => {
					tell(differenceOf(await gateway.ask('/api/catalog', catalogWholeTold), fingerprintsOf(catalog)));
					return 0;
				},
			});
		} catch (error) {
			if (!(error instanceof SlipwayError) || error.code !== 'SLIPWAY_CATALOG_INVALID') throw error;
			const problem = error.details.reason ?? error.message;
			print(values.json ? JSON.stringify({ ok: false, problem }) : problem);
			return 1;
		}
	},
});

function describe(found: Readonly<Record<string, readonly string[]>>): string {
	return Object.entries(found)
		.map(([what, names]) => `${names.length} ${what} (${names.join(', ')})`)
		.join(', ');
}

function describeDifference(difference: Difference): string {
	if (isNone(difference)) return 'It is what runs.';
	const { added, removed, changed, groups } = difference;
	const lines = [
		...added.map((name) => `+ ${name}: comes`),
		...removed.map((name) => `- ${name}: goes; its containers end when their calls are done`),
		...changed.map(({ name, fields, replaced }) => {
			const then = replaced ? 'its containers end when their calls are done' : 'its containers stay';
			return `~ ${name}: ${fields.join(', ')}; ${then}`;
		}),
		...groups.added.map((name) => `+ group ${name}`),
		...groups.removed.map((name) => `- group ${name}`),
		...groups.changed.map((name) => `~ group ${name}`),
	];
	return ['Against what runs:', ...lines.map((line) => `  ${line}`)].join('\n');
}
