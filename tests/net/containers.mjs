// SPDX-License-Identifier: Apache-2.0
// Pods of a container runtime that come and go, as the kubelet and the API server do it. Each has one container that asks for a provider's
// addresses and sends to them at once (container_pod send), from a source port that tells what kind of pod it was. Usage:
//   containers.mjs --runtime SOCKET --control ADDR:PORT --agent SOCKET --dir DIR --parent CGROUP --image IMAGE --resolver IP [--rounds 40] [--lanes 3]
// Runs in the node's namespaces. One JSON line a pod, and one at the end of the milliseconds from link-up to governed.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import readline from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Runtime } from '../lib/cri.mjs';

const { values: opt } = parseArgs({ options: {
	runtime: { type: 'string' }, control: { type: 'string' }, agent: { type: 'string' }, dir: { type: 'string' }, parent: { type: 'string' },
	image: { type: 'string' }, resolver: { type: 'string' }, rounds: { type: 'string', default: '40' }, lanes: { type: 'string', default: '3' },
} });
const LATE_MS = 700; // of labels that the API has only after the container began
// What the API says of it, when, and the first of its source ports.
const KINDS = {
	governed: { labels: { app: 'assistant' }, late: false, port: 20000 },
	held: { labels: { app: 'assistant' }, late: true, port: 22000 },
	untouched: { labels: { app: 'batch' }, late: false, port: 25000 },
};
const runtime = new Runtime(opt.runtime);

async function api(what, body) {
	const answer = await fetch(`http://${opt.control}/_test/${what}`, { method: 'POST', body: JSON.stringify(body) });
	if (!answer.ok) throw new Error(`${what}: ${answer.status}`);
}

// ---- when a link went up, and when its pod was governed ----
const up = new Map(); // index of a link -> ms
const monitor = spawn('ip', ['-ts', '-o', 'monitor', 'link'], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, TZ: 'UTC' } });
readline.createInterface({ input: monitor.stdout }).on('line', (line) => {
	const said = /^\[(\S+)\] (\d+): veth[^<]*<([^>]*)>/.exec(line);
	if (said && said[3].split(',').includes('UP') && !up.has(Number(said[2]))) up.set(Number(said[2]), Date.parse(`${said[1]}Z`));
});

function agentPods() {
	return new Promise((resolve, reject) => {
		let text = '';
		const socket = net.connect(opt.agent, () => socket.write('{"command":"pods"}\n'));
		socket.on('data', (data) => { text += data; }).on('error', reject);
		socket.on('close', () => { try { resolve(JSON.parse(text).pods); } catch (error) { reject(error); } });
	});
}
const governed = new Map(); // uid -> {ms, links}
let done = false;
async function watchAgent() {
	while (!done) {
		const pods = await agentPods().catch(() => []);
		const now = Date.now();
		for (const pod of pods) if (pod.state === 'governed' && !governed.has(pod.uid)) governed.set(pod.uid, { ms: now, links: pod.links });
		await sleep(5);
	}
}

// ---- a pod's life ----
async function life(round, lane) {
	const kind = Object.keys(KINDS)[round % 3];
	const { labels, late, port } = KINDS[kind];
	// A name that is another pod's again and again, as a StatefulSet's.
	const metadata = { name: `web-${lane}`, namespace: 'shop', uid: `u-churn-${round}`, attempt: 0 };
	const told = () => api('pods', { metadata: { name: metadata.name, namespace: metadata.namespace, uid: metadata.uid, labels } });
	const config = { metadata, hostname: metadata.name, log_directory: `${opt.dir}/${metadata.uid}`, dns_config: { servers: [opt.resolver] },
		linux: { cgroup_parent: opt.parent, security_context: { namespace_options: {}, seccomp: {} } } };
	if (!late) await told();
	const pod = await runtime.pod(config);
	const container = await runtime.container(pod, config, { metadata: { name: 'send' }, image: { image: opt.image }, log_path: 'send.log',
		command: ['/container_pod', 'send', opt.resolver, 'api.openai.com', String(port + round)], linux: { security_context: {} } });
	if (late) {
		await sleep(LATE_MS);
		await told();
	}
	let status;
	do {
		await sleep(50);
		status = await runtime.status(container);
	} while (status.state !== 'CONTAINER_EXITED');
	const seen = (await agentPods().catch(() => [])).find((p) => p.uid === metadata.uid)?.state;
	const log = fs.readFileSync(`${config.log_directory}/send.log`, 'utf8');
	const [, after4, after6] = /stdout F (-?\d+) (-?\d+)/.exec(log) ?? [null, null, null];
	await runtime.remove(pod);
	await api('delete', { resource: 'pods', key: metadata.uid });
	console.log(JSON.stringify({ round, kind, uid: metadata.uid, state: seen, exit: status.exit_code, after4: Number(after4 ?? NaN), after6: Number(after6 ?? NaN),
		...(status.exit_code || after4 < 0 || after6 < 0 ? { log } : {}) }));
}

let next = 0;
const watching = watchAgent();
await Promise.all(Array.from({ length: Number(opt.lanes) }, async (_, lane) => {
	while (next < Number(opt.rounds)) await life(next++, lane);
}));
done = true;
await watching;
monitor.kill();
const took = [...governed].filter(([uid]) => /^u-churn-/.test(uid) && Number(uid.slice(8)) % 3 === 0)
	.map(([, { ms, links }]) => ms - Math.min(...links.map((link) => up.get(link) ?? NaN))).filter(Number.isFinite).sort((a, b) => a - b);
console.log(JSON.stringify({ link_up_to_governed_ms: { pods: took.length, min: took[0], median: took[took.length >> 1], max: took.at(-1) } }));
runtime.close();
