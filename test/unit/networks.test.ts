import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NetworkInspectInfo } from 'dockerode';
import { isInstanceAddress } from '../../src/addresses.ts';
import { findNetworkDrift, rangeAt } from '../../src/docker/networks.ts';
import { buildSpec, type SpecContext } from '../../src/docker/spec.ts';
import type { InstanceId } from '../../src/ids.ts';
import { EGRESS_LIMITS } from '../../src/limits.ts';
import { server } from '../support/fixtures.ts';

const GOOD = {
	Driver: 'bridge',
	Internal: true,
	EnableIPv6: false,
	IPAM: { Driver: 'default', Config: [{ Subnet: '198.18.0.0/23', IPRange: '198.18.1.0/24' }] },
	Options: {
		'com.docker.network.bridge.gateway_mode_ipv4': 'isolated',
		'com.docker.network.bridge.inhibit_ipv4': 'true',
		'of.the.engine': 'x',
	},
};

function driftOf(change: object): string | undefined {
	return findNetworkDrift({ ...GOOD, ...change } as unknown as NetworkInspectInfo, '198.18.0.0/23');
}

test('a network that reads back as it was asked for is no drift, and any that opens it is', () => {
	assert.equal(driftOf({}), undefined);
	assert.match(driftOf({ Driver: 'macvlan' }) ?? '', /driver reads back as macvlan/);
	assert.match(driftOf({ Internal: false }) ?? '', /not internal/);
	assert.match(driftOf({ EnableIPv6: true }) ?? '', /IPv6/);
	assert.match(driftOf({ IPAM: { Config: [{ Subnet: '10.0.0.0/23' }] } }) ?? '', /other addresses/);
	assert.match(driftOf({ IPAM: { Config: [...GOOD.IPAM.Config, { Subnet: 'fd00::/64' }] } }) ?? '', /other addresses/);
	assert.match(driftOf({ Options: null }) ?? '', /gateway_mode_ipv4/);
	assert.match(
		driftOf({ Options: { ...GOOD.Options, 'com.docker.network.bridge.inhibit_ipv4': 'false' } }) ?? '',
		/inhibit_ipv4/,
	);
});

const CONTEXT: SpecContext = {
	gateway: 'g',
	boot: 'b',
	instance: '11111111-2222-3333-4444-555555555555' as InstanceId,
	mountPlaces: [],
	volumeNames: [],
};
const IMAGE = { id: 'sha256:a', volumePaths: [], entrypoint: [], command: [] };
const EGRESS = { network: 'slipway-g-a', proxyUrl: 'http://198.18.0.2:3128' };

test('a container with egress is in its server’s network and told of the proxy in every way; without, in none', () => {
	const entry = server('a', { kind: 'image', reference: 'a:1' }, { env: { NO_PROXY: 'mine' } });
	const none = buildSpec(entry, IMAGE, CONTEXT).body;
	assert.equal(none.HostConfig.NetworkMode, 'none');
	assert.deepEqual(none.Env, ['HOME=/tmp', 'TMPDIR=/tmp', 'NO_PROXY=mine']);
	const { Env = [], HostConfig } = buildSpec(entry, IMAGE, { ...CONTEXT, egress: EGRESS }).body;
	assert.equal(HostConfig.NetworkMode, 'slipway-g-a');
	for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY']) {
		assert.ok(Env.includes(`${name}=${EGRESS.proxyUrl}`), name);
		assert.ok(Env.includes(`${name.toLowerCase()}=${EGRESS.proxyUrl}`), name.toLowerCase());
	}
	assert.ok(Env.includes('NODE_USE_ENV_PROXY=1'));
	assert.ok(Env.includes('no_proxy=localhost,127.0.0.1,::1'));
	// The catalog has the last word, as it has with HOME.
	assert.equal(Env.at(-1), 'NO_PROXY=mine');
});

test('every range that a network is given is one that the gateway’s port refuses', () => {
	for (let index = 0; index < EGRESS_LIMITS.subnetsMax; index++) {
		const { subnet, instances, proxyAddress } = rangeAt(index);
		for (const address of [subnet.replace(/\/23$/, ''), instances.replace('.0/24', '.255'), proxyAddress])
			assert.ok(isInstanceAddress(address), address);
	}
});
