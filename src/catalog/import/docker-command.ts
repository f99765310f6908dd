/** `docker run`: which image, and what of its options a catalog entry says in its own way. */
import { bytesOf } from '../../sizes.ts';
import { parseImage } from '../sources.ts';
import { isWindowsPath } from './host-paths.ts';
import { type OptionTable, type ReadOption, readOptions } from './options.ts';
import type { ImageProgram } from './program.ts';
import { Refusal } from './refusal.ts';
import { tell } from './tell.ts';

const RUN: OptionTable = {
	valued: new Set(
		'--add-host --annotation --attach --blkio-weight --cap-add --cap-drop --cgroup-parent --cgroupns --cidfile --cpu-period --cpu-quota --cpu-shares --cpus --cpuset-cpus --cpuset-mems --device --dns --dns-option --dns-search --domainname --entrypoint --env --env-file --expose --gpus --group-add --health-cmd --hostname --ip --ip6 --ipc --isolation --label --label-file --link --log-driver --log-opt --mac-address --memory --memory-reservation --memory-swap --mount --name --network --net --network-alias --oom-score-adj --pid --pids-limit --platform --publish --pull --restart --runtime --secret --security-opt --shm-size --stop-signal --stop-timeout --storage-opt --sysctl --tmpfs --ulimit --user --userns --uts --volume --volume-driver --volumes-from --workdir'.split(
			' ',
		),
	),
	letters: 'aceghlmpuvw',
};

const LONG: Readonly<Record<string, string>> = Object.freeze({
	'-e': '--env',
	'-v': '--volume',
	'-u': '--user',
	'-m': '--memory',
	'-c': '--cpu-shares',
	'-w': '--workdir',
	'-p': '--publish',
	'-P': '--publish-all',
	'-l': '--label',
	'-h': '--hostname',
	'-a': '--attach',
	'-d': '--detach',
	'--net': '--network',
});

/** What every container here has anyway, or what makes no difference to a server that speaks on its stdio. */
const QUIET: ReadonlySet<string> = new Set(
	'-i -t -d --interactive --tty --detach --rm --init --pull --name --label --label-file --restart --read-only --cap-drop --security-opt --pids-limit --log-driver --log-opt --hostname --attach --sig-proxy --stop-signal --stop-timeout --quiet -q --memory-swap --memory-reservation --oom-score-adj --no-healthcheck --cidfile --annotation --cpu-shares --tmpfs'.split(
		' ',
	),
);

/** What would take a container out of its walls. An image that needs one of these does not run here. */
const OUTSIDE: ReadonlySet<string> = new Set(
	'--privileged --cap-add --device --gpus --pid --ipc --uts --userns --cgroupns --cgroup-parent --volumes-from --runtime --sysctl --group-add'.split(
		' ',
	),
);

const MEMORY = ['64m', '128m', '256m', '512m', '1g', '2g', '4g'] as const;
const SHM = ['16m', '64m', '256m', '1g'] as const;
const CPUS = [0.5, 1, 2, 4] as const;

/** What the options say, as it is read. */
interface Found {
	readonly env: (readonly [string, string | undefined])[];
	readonly volumes: { readonly name: string; readonly target: string }[];
	readonly mounts: { readonly source: string; readonly target: string; readonly readOnly: boolean }[];
	readonly resources: Record<string, string | number>;
	readonly notes: string[];
	user?: string;
	offline: boolean;
}

/** The words after `docker`. Throws Refusal. */
export function readDocker(words: readonly string[]): ImageProgram {
	// Options of docker itself may stand before the verb.
	const start = words.findIndex((word) => word === 'run' || word === 'create');
	if (start === -1)
		throw new Refusal('its command line is not `docker run`', 'Write the `docker run` line of the image.');
	const after = words.slice(start + 1);
	const { options, end } = readOptions(after, RUN);
	const [reference, ...command] = after.slice(end);
	if (reference === undefined)
		throw new Refusal('its command line names no image', 'Write the image after the options of `docker run`.');
	const found: Found = { env: [], volumes: [], mounts: [], resources: {}, notes: [], offline: false };
	for (const option of options) readOption(option, found);
	return { ...imageProgram(reference, command), ...found };
}

/** An image with nothing said of how it runs. Throws Refusal. */
export function imageProgram(reference: string, command: readonly string[]): ImageProgram {
	const image = parseImage(reference);
	if (image === undefined)
		throw new Refusal(
			`${tell(reference)} is not a reference to an image`,
			'Write "name:tag" or "registry.example/name:tag", the name in lower case.',
		);
	const name = image.repository.replace(/^docker\.io\/(?:library\/)?/, '');
	const found: Found = { env: [], volumes: [], mounts: [], resources: {}, notes: [], offline: false };
	return { kind: 'image', reference, name, command, ...found };
}

function readOption({ name: said, value = '' }: ReadOption, found: Found): void {
	const name = LONG[said] ?? said;
	if (QUIET.has(said) || QUIET.has(name)) return;
	if (OUTSIDE.has(name) || (name === '--network' && value.startsWith('container:')))
		throw new Refusal(
			`it asks for ${tell(value === '' ? name : `${name} ${value}`)}, which no server is given`,
			'Take the option out if the server does without; one that cannot is to be run beside Slipway.',
		);
	switch (name) {
		case '--env': {
			const equals = value.indexOf('=');
			found.env.push(equals === -1 ? [value, undefined] : [value.slice(0, equals), value.slice(equals + 1)]);
			return;
		}
		case '--env-file':
			found.notes.push(`The file ${tell(value)} is not read: add its variables to "env", and secrets to "secrets".`);
			return;
		case '--volume':
			return placeVolume(value, found);
		case '--mount':
			return readMount(value, found);
		case '--user':
			return readUser(value, found);
		case '--network':
			if (value === 'none') found.offline = true;
			else
				found.notes.push(
					`The network ${tell(value)} is left out: a server reaches what "egress" names and nothing else.`,
				);
			return;
		case '--publish':
		case '--publish-all':
		case '--expose':
			found.notes.push(`No port is published (${tell(value)}): the server is spoken to on its stdin and stdout.`);
			return;
		case '--entrypoint':
			throw new Refusal(
				`it puts ${tell(value)} in the place of the entry point of the image, and an entry has the image's own`,
				`Make an image with that entry point: FROM the image, ENTRYPOINT [${JSON.stringify(value)}].`,
			);
		case '--memory':
			return atLeast(value, { field: 'memory', tiers: MEMORY, found });
		case '--shm-size':
			return atLeast(value, { field: 'shm', tiers: SHM, found });
		case '--cpus':
			found.resources['cpus'] = CPUS.find((cpus) => cpus >= Number(value)) ?? 4;
			return;
		default:
			found.notes.push(`The option ${tell(value === '' ? name : `${name} ${value}`)} of docker is left out.`);
	}
}

/** A volume or a mount as `-v` has it, or a note why it is neither. */
export function placeVolume(value: string, found: Pick<Found, 'volumes' | 'mounts' | 'notes'>): void {
	// A drive of Windows has a colon of its own.
	const start = isWindowsPath(value) ? 2 : 0;
	const [rest = '', target, modes = ''] = value.slice(start).split(':');
	const source = value.slice(0, start) + rest;
	if (target === undefined) {
		found.notes.push(`The volume at ${tell(value)} has no name and is left out: /tmp is where the server may write.`);
		return;
	}
	place(source, { target, readOnly: modes.split(',').includes('ro'), found });
}

function readMount(value: string, found: Found): void {
	const said = new Map(
		value.split(',').map((part) => {
			const [key = '', ...rest] = part.split('=');
			return [key.trim(), rest.join('=')] as const;
		}),
	);
	const source = said.get('source') ?? said.get('src');
	const target = said.get('target') ?? said.get('destination') ?? said.get('dst');
	const flag = said.get('readonly') ?? said.get('ro');
	const readOnly = flag !== undefined && flag !== 'false' && flag !== '0';
	const type = said.get('type') ?? 'volume';
	if (type === 'tmpfs') return;
	if (target === undefined || source === undefined || (type !== 'bind' && type !== 'volume')) {
		found.notes.push(`The mount ${tell(value)} is left out: it names no source and target of a kind that there is.`);
		return;
	}
	place(source, { target, readOnly, found });
}

/** A name is a volume, and everything else a place on the host: as docker has it. */
function place(
	source: string,
	{ target, readOnly, found }: { target: string; readOnly: boolean; found: Pick<Found, 'volumes' | 'mounts'> },
): void {
	if (/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(source))
		found.volumes.push({ name: source.toLowerCase().slice(0, 63), target });
	else found.mounts.push({ source, target, readOnly });
}

function readUser(value: string, found: Found): void {
	if (/^[1-9][0-9]{4,9}(?::[1-9][0-9]{4,9})?$/.test(value)) found.user = value;
	else
		found.notes.push(
			`It does not run as the user ${tell(value)} but as 65532: servers run as numeric users of 10000 or more ("user").`,
		);
}

/** The smallest of the sizes that there are which is no smaller than what was said. */
function atLeast(
	value: string,
	{ field, tiers, found }: { field: string; tiers: readonly string[]; found: Found },
): void {
	const [, number = '', unit = ''] = /^(\d{1,12})([bkmg]?)b?$/i.exec(value) ?? [];
	const factors: Readonly<Record<string, number>> = { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };
	const bytes = Number(number) * (factors[unit.toLowerCase()] ?? 1);
	const tier = number === '' ? undefined : tiers.find((size) => bytesOf(size) >= bytes);
	if (tier !== undefined) found.resources[field] = tier;
	else found.notes.push(`The size ${tell(value)} of "${field}" is left out: it is more than ${tiers.at(-1)}.`);
}
