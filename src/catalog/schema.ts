/**
 * The form of the catalog file. One schema: load.ts checks with it, and editors complete with what it generates.
 *
 * There is no field for privileged, capabilities, host namespaces, devices or the name of a user, and unknown fields
 * are refused: what a container may do is not the file's to say.
 */
import { z } from 'zod';
import { SECRET_NAME_PATTERN, SERVER_NAME_PATTERN } from '../ids.ts';
import { compileSchema, SchemaRefused } from '../json-schema.ts';
import {
	BUDGET_LIMITS,
	CATALOG_LIMITS,
	INSTANCE_LIMITS,
	POLICY_LIMITS,
	SECRET_LIMITS,
	SESSION_LIMITS,
} from '../limits.ts';
import { EGRESS_PATTERN, explainEgress } from './egress.ts';
import { explainMountSource, explainTarget, isAtOrBelow } from './paths.ts';
import { explainPypi, explainPypiLocal, isPypiLocal, PYPI_PATTERNS, parsePypi } from './pypi.ts';
import { quote } from './quote.ts';
import { explainVariable, SECRET_FILE_PATTERN, SECRET_FILES } from './secrets.ts';
import {
	BIN_PATTERN,
	explainImage,
	explainNpm,
	IMAGE_PATTERN,
	NPM_FIELD_PATTERN,
	SYSTEM_PACKAGE_PATTERN,
} from './sources.ts';

const MS_PER_SECOND = 1000;
const PRINTABLE = /^[^\u0000-\u001f\u007f]*$/;
const PRINTABLE_LINES = /^[^\u0000-\u0008\u000b-\u001f\u007f]*$/;
const NO_NUL = /^[^\u0000]*$/;

const DEFAULT_USER = '65532:65532';
// Ids of five digits or more are 10000 or more, and a number with leading zeros is not one.
const USER_PATTERN = /^[1-9][0-9]{4,9}(?::[1-9][0-9]{4,9})?$/;

/** A string field with a bound that is told before anything else is looked at. */
function text(charsMax: number) {
	return z.string().max(charsMax, { abort: true });
}

const word = text(CATALOG_LIMITS.wordCharsMax).regex(NO_NUL, 'has a NUL character in it. Remove it');

const target = text(CATALOG_LIMITS.pathCharsMax)
	.superRefine((value, context) => complain(context, explainTarget(value)))
	.meta({ pattern: '^/.' });

const volumeShape = {
	name: z
		.string()
		.regex(
			/^[a-z0-9][a-z0-9_.-]{0,62}$/,
			'is not the name of a volume. Write 1 to 63 of a-z, 0-9, "_", "." and "-", a letter or digit first',
		)
		.describe('The name of the volume; it is made when it is not there yet.'),
	target: target.describe('Where the volume appears in the container: an absolute path.'),
};

const mountShape = {
	source: text(CATALOG_LIMITS.pathCharsMax)
		.superRefine((value, context) => complain(context, explainMountSource(value)))
		.meta({ pattern: '^\\.?/.' })
		.describe(
			'The folder or file of the host: from the folder of compose.yaml with a leading "./", or absolute; only below SLIPWAY_MOUNT_ROOTS.',
		),
	target: target.describe('Where it appears in the container: an absolute path.'),
	readOnly: z.boolean().default(true).describe('Whether the server may only read it.'),
};

const variableName = text(CATALOG_LIMITS.envNameCharsMax).regex(
	/^[A-Za-z_][A-Za-z0-9_]*$/,
	'is not the name of a variable. Write letters, digits and "_", no digit first',
);

const secretName = z
	.string()
	.regex(
		SECRET_NAME_PATTERN,
		'is not the name of a secret. Write 1 to 63 of a-z, 0-9 and "_", a letter first, and not "_file" at the end',
	);

const secretShape = {
	secret: secretName.describe('The name of the secret.'),
	file: z
		.string()
		.regex(
			SECRET_FILE_PATTERN,
			`is not a place for a secret. Write "${SECRET_FILES}/" and the name of the file, as in "${SECRET_FILES}/token"`,
		)
		.describe('The file in the container, in memory, that has the value; the variable gets its path.'),
};

const resourcesShape = {
	memory: z
		.enum(['64m', '128m', '256m', '512m', '1g', '2g', '4g'])
		.default('256m')
		.describe('Memory of one container, /tmp and /dev/shm included.'),
	cpus: z.literal([0.5, 1, 2, 4]).default(1).describe('CPUs of one container.'),
	pids: z.literal([64, 128, 256, 512]).default(128).describe('Processes and threads of one container.'),
	tmp: z.enum(['16m', '32m', '64m', '128m', '256m']).default('32m').describe('The size of /tmp, in memory.'),
	shm: z
		.enum(['none', '16m', '64m', '256m', '1g'])
		.default('none')
		.describe('The size of /dev/shm, which browsers and Python multiprocessing need.'),
};

const replicasShape = {
	min: z
		.int()
		.min(0)
		.max(CATALOG_LIMITS.replicasMax)
		.default(0)
		.describe('Containers that stay once the server was used, also when nobody uses them.'),
	max: z
		.int()
		.min(1)
		.max(CATALOG_LIMITS.replicasMax)
		.default(2)
		.describe('Containers that there are at most, when many calls are in flight.'),
};

const toolPattern = text(CATALOG_LIMITS.toolPatternCharsMax)
	.min(1)
	.regex(PRINTABLE, 'has a control character in it. Remove it');
const toolPatterns = z.array(toolPattern).max(CATALOG_LIMITS.toolPatternsMax);

/** Something for each of some names of tools. */
function byTool<Value extends z.ZodType>(value: Value) {
	return z
		.record(toolPattern, value)
		.superRefine((entries, context) => complainCount(context, entries, CATALOG_LIMITS.toolPatternsMax))
		.meta({ maxProperties: CATALOG_LIMITS.toolPatternsMax });
}

const toolsShape = {
	allow: toolPatterns.describe('Names of tools; `*` stands for any characters.').optional(),
	deny: toolPatterns.describe('Names of tools; `*` stands for any characters.').optional(),
	callsPerMinute: byTool(z.int().min(1).max(POLICY_LIMITS.callsPerMinuteSaidMax))
		.describe(
			'How often one caller may call tools in a minute, by name; `*` stands for any characters, and those that a name stands for are counted together.',
		)
		.optional(),
	arguments: byTool(
		z.record(z.string(), z.unknown()).superRefine((value, context) => complain(context, explainSchema(value))),
	)
		.describe(
			'What the arguments of tools must fit, whatever the server allows: a JSON Schema (draft 2020-12 or draft-07) by name; `*` stands for any characters.',
		)
		.optional(),
	validate: z
		.boolean()
		.describe('Whether arguments are held against the input schemas that the server lists. Without it they are.')
		.optional(),
};

const auditShape = {
	values: toolPatterns
		.describe('Tools whose arguments are recorded as they are; `*` stands for any characters. Of others, the shape.')
		.default([]),
};

/** How a package becomes an image. */
const packageShape = {
	bin: text(CATALOG_LIMITS.binCharsMax)
		.regex(BIN_PATTERN, 'is not the name of a binary. Write it as the package has it, without a path')
		.describe('Which binary of the package runs; without it the one that `npx` or `uvx` would run.')
		.optional(),
	installScripts: z
		.literal(true)
		.describe(
			'That the package and its dependencies may run code of theirs when they are installed: for native modules of npm that are not prebuilt, with a compiler there, and for Python packages without a wheel, which are built from their source.',
		)
		.optional(),
	systemPackages: z
		.array(
			text(CATALOG_LIMITS.packageNameCharsMax).regex(
				SYSTEM_PACKAGE_PATTERN,
				'is not the name of a Debian package. Write it in lower case and without a version, as in "chromium"',
			),
		)
		.max(CATALOG_LIMITS.systemPackagesMax)
		.meta({ uniqueItems: true })
		.describe('Debian packages that are in the image beside it, as in "chromium"; only with a package.')
		.optional(),
};

const serverShape = {
	npm: z
		.string()
		.superRefine((value, context) => complain(context, explainNpm(value)))
		.meta({
			pattern: NPM_FIELD_PATTERN.source,
			examples: ['@modelcontextprotocol/server-everything@2026.8.31', './servers/own'],
		})
		.describe(
			'The npm package to run, with its exact version: "name@version" or "@scope/name@version"; or a folder or archive of one, from the folder of the catalog, with a leading "./".',
		)
		.optional(),
	pypi: text(CATALOG_LIMITS.pathCharsMax)
		.superRefine((value, context) =>
			complain(context, isPypiLocal(value) ? explainPypiLocal(value) : explainRequirement(value)),
		)
		.meta({ pattern: PYPI_PATTERNS.source, examples: ['mcp-server-time==2026.8.31', './servers/own.py'] })
		.describe(
			'The Python package to run, with its exact version: "name==version" or "name[extra]==version"; or a folder, wheel or script beside this file, as in "./servers/own.py".',
		)
		.optional(),
	with: z
		.array(
			text(CATALOG_LIMITS.pathCharsMax)
				.superRefine((value, context) => complain(context, explainRequirement(value)))
				.meta({ pattern: PYPI_PATTERNS.with }),
		)
		.max(CATALOG_LIMITS.packagesWithMax)
		.describe('Python packages that are installed with the one in "pypi", each as "name==version".')
		.optional(),
	...packageShape,
	image: text(CATALOG_LIMITS.imageReferenceCharsMax)
		.regex(IMAGE_PATTERN, { error: (issue) => explainImage(String(issue.input)) })
		.describe('The image to run, by a tag other than latest or by digest.')
		.optional(),
	title: text(CATALOG_LIMITS.titleCharsMax)
		.min(1)
		.regex(PRINTABLE, 'has a line break or another control character in it. Remove it')
		.describe('What people read as the name of the server.')
		.optional(),
	description: text(CATALOG_LIMITS.descriptionCharsMax)
		.min(1)
		.regex(PRINTABLE_LINES, 'has a control character in it. Remove it')
		.describe('What the server is for, in a sentence or two.')
		.optional(),
	command: z
		.array(word)
		.min(1)
		.max(CATALOG_LIMITS.wordsMax)
		.describe("What to run in place of the image's own command (Docker's Cmd); only with an image.")
		.optional(),
	args: z
		.array(word)
		.max(CATALOG_LIMITS.wordsMax)
		.default([])
		.describe("The arguments of the package's program, or what follows the command."),
	env: z
		.record(variableName, text(CATALOG_LIMITS.envValueCharsMax).regex(NO_NUL, 'has a NUL character in it. Remove it'))
		.superRefine((value, context) => complainCount(context, value, CATALOG_LIMITS.envMax))
		.meta({ maxProperties: CATALOG_LIMITS.envMax })
		.default({})
		.describe('Environment variables of the server; not for secrets, which `docker inspect` would show.'),
	secrets: z
		.record(
			variableName,
			z.union([secretName, z.strictObject(secretShape)], {
				error: 'must be the name of a secret, or {"secret": …, "file": …} with its name and its place',
			}),
		)
		.superRefine((value, context) => complainCount(context, value, SECRET_LIMITS.perServerMax))
		.meta({ maxProperties: SECRET_LIMITS.perServerMax })
		.default({})
		.describe(
			'Secrets by the environment variable that gets each: its name, or its name and the file that has the value. Values are kept elsewhere: docs/secrets.md.',
		),
	volumes: z
		.array(z.strictObject(volumeShape))
		.max(CATALOG_LIMITS.volumesMax)
		.default([])
		.describe('Docker volumes: what the server writes there outlives its container.'),
	mounts: z
		.array(z.strictObject(mountShape))
		.max(CATALOG_LIMITS.mountsMax)
		.default([])
		.describe('Folders and files of the host that the server sees.'),
	egress: z
		.array(
			text(CATALOG_LIMITS.egressCharsMax)
				.superRefine((value, context) => complain(context, explainEgress(value)))
				.meta({ pattern: EGRESS_PATTERN, examples: ['api.github.com:443'] }),
		)
		.max(CATALOG_LIMITS.egressMax)
		.meta({ uniqueItems: true })
		.default([])
		.describe(
			'What the server may reach: "host:port", or "*.host:port" for the names below a host; nothing else, and without this no network at all.',
		),
	resources: z.strictObject(resourcesShape).prefault({}).describe('What one container of the server may use.'),
	user: z
		.string()
		.regex(
			USER_PATTERN,
			`is not a user. Write "uid" or "uid:gid", numbers of ${CATALOG_LIMITS.userIdMin} or more, as in "${DEFAULT_USER}"`,
		)
		.superRefine((value, context) => {
			if (value.split(':').some((id) => Number(id) > CATALOG_LIMITS.userIdMax)) {
				complain(context, `has an id above ${CATALOG_LIMITS.userIdMax}. Write smaller ones, as in "${DEFAULT_USER}"`);
			}
		})
		.default(DEFAULT_USER)
		.describe(
			'The user and group that the server runs as, both numbers of 10000 or more; the group is the uid if left out.',
		),
	callTimeout: z
		.number()
		.min(CATALOG_LIMITS.callTimeoutMsMin / MS_PER_SECOND)
		.max(SESSION_LIMITS.callTimeoutMsMax / MS_PER_SECOND)
		.default(SESSION_LIMITS.callTimeoutMs / MS_PER_SECOND)
		.describe('How long a call may take, in seconds.'),
	idleStop: z
		.number()
		.min(CATALOG_LIMITS.idleStopMsMin / MS_PER_SECOND)
		.max(SESSION_LIMITS.absoluteMs / MS_PER_SECOND)
		.default(INSTANCE_LIMITS.idleStopMs / MS_PER_SECOND)
		.describe('Seconds after which a container that nobody calls is stopped. The next call gets another one.'),
	snapshot: z
		.boolean()
		.default(true)
		.describe('Whether clients are told what the server has without starting it, when it has said so before.'),
	callsPerMinute: z
		.int()
		.min(1)
		.max(POLICY_LIMITS.callsPerMinuteSaidMax)
		.describe('How often one caller may call it in a minute; SLIPWAY_CALLS_PER_MINUTE where nothing is said.')
		.optional(),
	callsInFlight: z
		.int()
		.min(1)
		.max(BUDGET_LIMITS.callsInFlightSaidMax)
		.describe(
			'Calls of it that may be in flight, of all callers together. One caller is let have no more than are left for others.',
		)
		.optional(),
	containers: z
		.int()
		.min(1)
		.max(BUDGET_LIMITS.containersSaidMax)
		.describe(
			'Containers of it that callers may have, all together. One caller is let have no more than are left for others.',
		)
		.optional(),
	tools: z
		.strictObject(toolsShape)
		.describe('Which tools clients see and call: those that match `allow`, all where it is not there, but for `deny`.')
		.optional(),
	audit: z.strictObject(auditShape).describe('What the audit records of its calls.').optional(),
	pin: z
		.enum(['first-use', 'approve', 'off'])
		.default('first-use')
		.describe(
			'When the definition of a tool counts as approved: when it is first seen (first-use), when somebody approves it (approve), or always (off). One that changes later is hidden, and its calls are refused, until `slipway approve`.',
		),
	warm: z
		.int()
		.min(0)
		.max(CATALOG_LIMITS.warmMax)
		.describe(
			'Containers that are started ahead and wait for their first caller. Where nothing is said: as the server is used, and none where it has volumes or mounts, since it may read them when it starts. With 0 none is started before somebody asks.',
		)
		.optional(),
	isolation: z
		.enum(['session', 'principal', 'shared'])
		.default('session')
		.describe(
			'Who has a container together: nobody (session), all sessions of one caller (principal), or everybody (shared), which is for servers that keep nothing of a caller from one call to the next.',
		),
	replicas: z
		.strictObject(replicasShape)
		.describe('How many containers a server has that everybody uses; only with "isolation": "shared".')
		.optional(),
	enabled: z.boolean().default(true).describe('Whether the server is served.'),
};

export const serverSchema = z
	.strictObject(serverShape)
	.superRefine((entry, context) => {
		// An unknown field is reported already, and may well be the source under another name.
		if (!context.issues.some(({ code }) => code === 'unrecognized_keys')) complainSource(context, entry);
		complainPackage(context, entry);
		complainOverlap(context, entry);
		complainReplicas(context, entry);
		complainRepeats(context, entry);
		complainSecrets(context, entry);
	})
	.meta({
		oneOf: [{ required: ['npm'] }, { required: ['pypi'] }, { required: ['image'] }],
		dependentRequired: { command: ['image'], with: ['pypi'], replicas: ['isolation'] },
		dependentSchemas: {
			...Object.fromEntries(Object.keys(packageShape).map((field) => [field, { not: { required: ['image'] } }])),
			replicas: { properties: { isolation: { const: 'shared', description: 'What goes with replicas.' } } },
		},
	});

const NAME_FORM = 'Write 1 to 64 of a-z, 0-9 and "-", a letter or digit first and last';

const group = z
	.array(z.string().meta({ pattern: SERVER_NAME_PATTERN.source }))
	.min(1)
	// Members are held against the servers only where there are not too many of them.
	.max(CATALOG_LIMITS.serversPerGroupMax, { abort: true })
	.meta({ uniqueItems: true });

const catalogShape = {
	$schema: text(CATALOG_LIMITS.pathCharsMax)
		.describe('Where an editor finds the schema of this file; Slipway does not read it.')
		.optional(),
	servers: z
		.record(z.string().regex(SERVER_NAME_PATTERN, `is not the name of a server. ${NAME_FORM}`), serverSchema)
		.superRefine((value, context) => complainCount(context, value, CATALOG_LIMITS.serversMax))
		.meta({ maxProperties: CATALOG_LIMITS.serversMax })
		.describe('The servers by name; the name is a part of the URL.'),
	groups: z
		.record(z.string().regex(SERVER_NAME_PATTERN, `is not the name of a group. ${NAME_FORM}`), group)
		.superRefine((value, context) => complainCount(context, value, CATALOG_LIMITS.groupsMax))
		.meta({ maxProperties: CATALOG_LIMITS.groupsMax })
		.default({})
		.describe('Names for several servers of this file together; the earlier one in a list takes precedence.'),
};

/** The file form. Its output has every default filled in; units and shape are still those of the file. */
export const catalogFileSchema = z.strictObject(catalogShape).superRefine(complainMembers);

export type ServerFile = z.output<typeof serverSchema>;

/** The replicas of a shared server that says nothing of them. */
export const REPLICAS = Object.freeze(z.strictObject(replicasShape).parse({}));

/** What an issue about a name that nothing has carries as `params`, for a guess at the name that was meant. */
export interface NameMissed {
	readonly name: string;
	readonly known: readonly string[];
}

/** What one may write at a place of the file, given as a path of keys. Empty where any key may stand. */
export function knownFields(path: readonly PropertyKey[]): readonly string[] {
	if (path.length === 0) return Object.keys(catalogShape);
	if (path.length === 2) return Object.keys(serverShape);
	if (path[2] === 'resources') return Object.keys(resourcesShape);
	if (path[2] === 'replicas') return Object.keys(replicasShape);
	if (path[2] === 'tools') return Object.keys(toolsShape);
	if (path[2] === 'audit') return Object.keys(auditShape);
	if (path[2] === 'volumes') return Object.keys(volumeShape);
	if (path[2] === 'mounts') return Object.keys(mountShape);
	if (path[2] === 'secrets' && path.length === 4) return Object.keys(secretShape);
	return [];
}

/** The file form as a JSON Schema (draft 2020-12) for editors: the contents of catalog/catalog.schema.json. */
export function catalogJsonSchema(): Record<string, unknown> {
	const { $schema, ...rest } = z.toJSONSchema(catalogFileSchema, { target: 'draft-2020-12', io: 'input' });
	return {
		$schema,
		title: 'Slipway catalog',
		description: 'The MCP servers that Slipway serves, and what each may do.',
		...rest,
	};
}

function complain(context: z.RefinementCtx, message: string | undefined, path: PropertyKey[] = []): void {
	if (message !== undefined) context.addIssue({ code: 'custom', message, path });
}

/** Why a schema cannot be used; undefined for one that can. */
function explainSchema(schema: object): string | undefined {
	try {
		compileSchema(JSON.stringify(schema), 'operator');
		return undefined;
	} catch (error) {
		if (!(error instanceof SchemaRefused)) throw error;
		return `is no JSON Schema that Slipway can use: ${error.message}. Correct it`;
	}
}

function complainCount(context: z.RefinementCtx, value: object, countMax: number): void {
	const count = Object.keys(value).length;
	if (count > countMax) complain(context, `has ${count} entries. Keep at most ${countMax}`);
}

function explainRequirement(value: string): string | undefined {
	return parsePypi(value) === undefined ? explainPypi(value) : undefined;
}

function complainSource(context: z.RefinementCtx, entry: ServerFile): void {
	const [first, second] = (['npm', 'pypi', 'image'] as const).filter((field) => entry[field] !== undefined);
	if (first === undefined) {
		complain(
			context,
			'names nothing to run. Add "npm": "name@version", "pypi": "name==version" or "image": "name:tag"',
		);
	} else if (second !== undefined) {
		complain(context, `has both "${first}" and "${second}". Keep one of them`, [second]);
	} else if (first !== 'image' && entry.command !== undefined) {
		complain(context, 'goes with "image" only. Put what the package is to be told in "args"', ['command']);
	}
	if (first !== undefined && first !== 'pypi' && entry.with !== undefined)
		complain(context, 'goes with "pypi" only. Remove it', ['with']);
}

/** What is said of a package means nothing of an image, which is as it is. */
function complainPackage(context: z.RefinementCtx, entry: ServerFile): void {
	for (const field of ['bin', 'installScripts', 'systemPackages'] as const) {
		if (entry.image !== undefined && entry[field] !== undefined)
			complain(context, 'goes with a package only: an image has what it has. Remove it', [field]);
	}
	const names = entry.systemPackages ?? [];
	for (const [index, name] of names.entries()) {
		if (names.indexOf(name) < index)
			complain(context, `${quote(name)} stands here twice. Remove one of them`, ['systemPackages', index]);
	}
}

function complainReplicas(context: z.RefinementCtx, { isolation, replicas }: ServerFile): void {
	if (replicas === undefined) return;
	if (isolation !== 'shared')
		complain(context, 'goes with "isolation": "shared" only. Add that, or remove this', ['replicas']);
	if (replicas.min > replicas.max) {
		complain(context, `is more than "max", ${replicas.max}. Write a smaller "min" or a larger "max"`, [
			'replicas',
			'min',
		]);
	}
}

function complainRepeats(context: z.RefinementCtx, { egress }: ServerFile): void {
	for (const [index, line] of egress.entries()) {
		if (egress.indexOf(line) < index)
			complain(context, `${quote(line)} stands here twice. Remove one of them`, ['egress', index]);
	}
}

function complainSecrets(context: z.RefinementCtx, { env, secrets }: ServerFile): void {
	const files = new Set<string>();
	for (const [variable, secret] of Object.entries(secrets)) {
		const path = ['secrets', variable];
		complain(context, explainVariable(variable), path);
		if (Object.hasOwn(env, variable)) complain(context, 'stands in "env" too. Remove one of them', path);
		if (typeof secret === 'string') continue;
		if (files.has(secret.file))
			complain(context, `${quote(secret.file)} stands here twice. Choose another`, [...path, 'file']);
		files.add(secret.file);
	}
}

function complainMembers(
	{ servers, groups }: { readonly servers: object; readonly groups: Readonly<Record<string, readonly string[]>> },
	context: z.RefinementCtx,
): void {
	const known = Object.keys(servers);
	for (const [name, members] of Object.entries(groups)) {
		const seen = new Set<string>();
		for (const [index, member] of members.entries()) {
			const path = ['groups', name, index];
			if (seen.has(member)) complain(context, `${quote(member)} stands in this group twice. Remove one of them`, path);
			else if (!Object.hasOwn(servers, member)) {
				const message = `${quote(member)} is not a server of this catalog. Add it to "servers", or remove it here`;
				context.addIssue({ code: 'custom', message, path, params: { name: member, known } satisfies NameMissed });
			}
			seen.add(member);
		}
	}
}

/** Two mounts, one in the other, would depend on their order; two at one place would hide each other. */
function complainOverlap(context: z.RefinementCtx, { volumes, mounts }: ServerFile): void {
	const taken: { readonly place: string; readonly path: string }[] = [];
	for (const [field, entries] of Object.entries({ volumes, mounts })) {
		for (const [index, entry] of entries.entries()) {
			const path = entry.target;
			const other = taken.find((one) => isAtOrBelow(path, one.path) || isAtOrBelow(one.path, path));
			if (other !== undefined) {
				complain(context, `"${path}" overlaps with ${other.place} ("${other.path}"). Choose places apart`, [
					field,
					index,
					'target',
				]);
			}
			taken.push({ place: `${field}[${index}].target`, path });
		}
	}
}
