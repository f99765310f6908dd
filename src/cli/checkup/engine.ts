/** What the engine says of itself, judged. */
import type { EngineFacts } from '../../docker/engine-facts.ts';
import { CLI_LIMITS } from '../../limits.ts';
import { type Finding, ok, warning } from './finding.ts';

/** Drivers that share layers between containers. */
const GOOD_DRIVERS = new Set(['overlay2', 'overlayfs', 'fuse-overlayfs', 'btrfs', 'zfs', 'stargz']);

/** @param nowMs when the facts were asked for, in ms since 1970, by our clock */
export function judgeEngine(facts: EngineFacts, nowMs: number): Finding[] {
	return [
		judgeStorage(facts),
		judgeCgroups(facts),
		judgeSeccomp(facts),
		judgeUsers(facts),
		judgeRestore(facts),
		judgeClock(facts, nowMs),
	];
}

function judgeStorage({ storageDriver }: EngineFacts): Finding {
	if (GOOD_DRIVERS.has(storageDriver)) return ok('storage', storageDriver);
	return warning('storage', `the driver is ${storageDriver}`, {
		why: 'It copies a whole image for each container, or is not kept up any more: starts are slow, and disks fill.',
		fix: 'Have the engine use overlay2: https://docs.docker.com/engine/storage/drivers/select-storage-driver/',
	});
}

function judgeCgroups({ cgroupVersion, lacking, kernel }: EngineFacts): Finding {
	if (lacking.length > 0)
		return warning('limits', `the kernel ${kernel} does not limit ${lacking.join(', ')}`, {
			why: 'A server that runs wild can take from others what the catalog does not give it.',
			fix: 'Use cgroup version 2, or boot with cgroup_enable=memory swapaccount=1.',
		});
	if (cgroupVersion === '2') return ok('limits', `cgroup version 2, kernel ${kernel}`);
	return warning('limits', `cgroup version ${cgroupVersion || 'unknown'}, kernel ${kernel}`, {
		why: 'Limits hold, but systems give that version up, and it tells less of what a container used.',
		fix: 'Boot with systemd.unified_cgroup_hierarchy=1, or use a system that has version 2 by itself.',
	});
}

function judgeSeccomp({ security }: EngineFacts): Finding {
	const modules = ['apparmor', 'selinux'].filter((name) => security.has(name));
	if (security.has('seccomp')) return ok('system calls', ['seccomp', ...modules].join(', '));
	return warning('system calls', 'the engine filters none', {
		why: 'Without seccomp a server may make any system call, and flaws of the kernel are within its reach.',
		fix: 'Remove "seccomp-profile": "unconfined" from daemon.json, or use a kernel with CONFIG_SECCOMP_FILTER.',
	});
}

function judgeUsers({ security }: EngineFacts): Finding {
	if (security.has('rootless')) return ok('users', 'the engine runs without root');
	if (security.has('userns')) return ok('users', 'root in a container is nobody outside');
	// Servers are never root inside, so this is as it should be too.
	return ok('users', 'ids in a container are those of the host; servers have 10000 or more and no privilege');
}

function judgeRestore({ liveRestore }: EngineFacts): Finding {
	return ok(
		'restarts',
		liveRestore
			? 'containers outlive a restart of the engine (live-restore); Slipway ends those that it cannot reach again'
			: 'a restart of the engine ends all containers; sessions go on with new ones',
	);
}

function judgeClock({ clockMs }: EngineFacts, nowMs: number): Finding {
	const driftMs = clockMs === undefined ? 0 : Math.abs(clockMs - nowMs);
	if (driftMs <= CLI_LIMITS.clockDriftMsMax) return ok('clock', 'the engine has the same time');
	return warning('clock', `the engine's clock is ${Math.round(driftMs / 1000)} s from this one`, {
		why: 'Tokens look expired or not valid yet, and what happened when is hard to tell. Machines that slept are behind.',
		fix: 'Synchronise the clocks (NTP); with Docker Desktop, restart it.',
	});
}
