/** What the engine says of itself and of the machine that it runs on. */
import type { Engine } from './engine.ts';

/** What an engine leaves unsaid is undefined. */
export interface EngineFacts {
	readonly storageDriver: string;
	readonly kernel: string;
	readonly operatingSystem: string;
	/** `1` or `2`. */
	readonly cgroupVersion: string;
	/** As in `seccomp`, `apparmor`, `rootless`, `userns`, `cgroupns`, `selinux`. */
	readonly security: ReadonlySet<string>;
	readonly liveRestore: boolean;
	/** Limits that the kernel cannot keep. */
	readonly lacking: readonly string[];
	/** What it was when it answered, in ms since 1970, by its own clock; undefined where that cannot be read. */
	readonly clockMs: number | undefined;
}

const LIMITS = Object.freeze({
	MemoryLimit: 'memory',
	SwapLimit: 'swap',
	PidsLimit: 'processes',
	CpuCfsQuota: 'CPU',
});

/** Rejects as Engine.call does. */
export async function learnFacts(engine: Engine): Promise<EngineFacts> {
	const answer: unknown = await engine.call((docker) => docker.info());
	const info = new Map(typeof answer === 'object' && answer !== null ? Object.entries(answer) : []);
	const textOf = (name: string): string => {
		const value = info.get(name);
		return typeof value === 'string' ? value : '';
	};
	const options: unknown = info.get('SecurityOptions');
	const clockMs = Date.parse(textOf('SystemTime'));
	return {
		storageDriver: textOf('Driver'),
		kernel: textOf('KernelVersion'),
		operatingSystem: textOf('OperatingSystem'),
		cgroupVersion: textOf('CgroupVersion'),
		security: new Set((Array.isArray(options) ? options : []).map((option) => nameOf(String(option)))),
		liveRestore: info.get('LiveRestoreEnabled') === true,
		lacking: Object.entries(LIMITS).flatMap(([field, name]) => (info.get(field) === false ? [name] : [])),
		clockMs: Number.isNaN(clockMs) ? undefined : clockMs,
	};
}

/** `name=seccomp,profile=builtin` is seccomp; one that is switched off is not there. */
function nameOf(option: string): string {
	const [, name = option] = /(?:^|,)name=([^,]+)/.exec(option) ?? [];
	return /profile=unconfined/.test(option) ? `${name} unconfined` : name;
}
