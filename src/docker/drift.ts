/** Whether the engine made what it was asked to: the read-back of a container between create and start. */
import { isDeepStrictEqual } from 'node:util';
import type { ContainerCreateOptions, ContainerInspectInfo } from 'dockerode';

/** What the engine leaves out, or spells otherwise, when it reads an empty value back. */
function isEmpty(value: unknown): boolean {
	if (value === undefined || value === null || value === '' || value === false || value === 0) return true;
	if (Array.isArray(value)) return value.length === 0;
	return typeof value === 'object' && Object.values(value).every(isEmpty);
}

/** Fields of HostConfig that we never send and that must read back empty: each would open the sandbox. */
const NEVER_SET = [
	'Binds',
	'CapAdd',
	'Devices',
	'DeviceRequests',
	'DeviceCgroupRules',
	'GroupAdd',
	'ExtraHosts',
	'Links',
	'PidMode',
	'PortBindings',
	'PublishAllPorts',
	'UTSMode',
	'UsernsMode',
	'VolumesFrom',
	'VolumeDriver',
	'CgroupParent',
	'Sysctls',
	'Dns',
	'OomKillDisable',
] as const;

const CONFIG_FIELDS = [
	'Image',
	'Entrypoint',
	'Cmd',
	'User',
	'Tty',
	'OpenStdin',
	'StdinOnce',
	'StopSignal',
	'StopTimeout',
	'Labels',
	'Healthcheck',
	'Hostname',
] as const;

/**
 * Compares what was asked for with what `inspect` says.
 *
 * @returns a sentence that names the first field that differs, or undefined
 */
export function findDrift(asked: ContainerCreateOptions, inspected: ContainerInspectInfo): string | undefined {
	const config: Record<string, unknown> = { ...inspected.Config };
	for (const field of CONFIG_FIELDS) {
		if (asked[field] === undefined) continue;
		// The image's own labels are merged in; ours must be there unchanged.
		const same = field === 'Labels' ? includes(config[field], asked[field]) : equal(config[field], asked[field]);
		if (!same) return `Config.${field} reads back as ${show(config[field])}.`;
	}
	if (!includesEnv(config['Env'], asked.Env)) return 'Config.Env reads back without what was asked for.';
	const host: Record<string, unknown> = { ...inspected.HostConfig };
	for (const [field, value] of Object.entries(asked.HostConfig ?? {})) {
		if (!equal(host[field], value)) return `HostConfig.${field} reads back as ${show(host[field])}.`;
	}
	for (const field of NEVER_SET) {
		if (!isEmpty(host[field])) return `HostConfig.${field} was set by somebody else: ${show(host[field])}.`;
	}
	const askedTargets = new Set((asked.HostConfig?.Mounts ?? []).map(({ Target }) => Target));
	const extra = inspected.Mounts.find(({ Destination, Type }) => Type !== 'tmpfs' && !askedTargets.has(Destination));
	return extra === undefined ? undefined : `There is a mount at ${extra.Destination} that nobody asked for.`;
}

/** Deep equality in which an absent value and an empty one are the same, and additions of the engine's do not count. */
function equal(actual: unknown, asked: unknown): boolean {
	if (isEmpty(asked)) return isEmpty(actual);
	if (Array.isArray(asked)) {
		return Array.isArray(actual) && actual.length === asked.length && asked.every((item, i) => equal(actual[i], item));
	}
	if (typeof asked === 'object' && asked !== null && typeof actual === 'object' && actual !== null) {
		return Object.entries(asked).every(([key, value]) => equal(Reflect.get(actual, key), value));
	}
	return isDeepStrictEqual(actual, asked);
}

function includes(actual: unknown, asked: object | undefined): boolean {
	return Object.entries(asked ?? {}).every(
		([key, value]) => typeof actual === 'object' && actual !== null && Reflect.get(actual, key) === value,
	);
}

function includesEnv(actual: unknown, asked: readonly string[] | undefined): boolean {
	return Array.isArray(actual) && (asked ?? []).every((entry) => actual.includes(entry));
}

function show(value: unknown): string {
	return (JSON.stringify(value) ?? 'nothing').slice(0, 200);
}
