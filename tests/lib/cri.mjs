#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// What the kubelet asks of a container runtime, by gRPC (cri.proto). As a program:
//   cri.mjs SOCKET pod CONFIG.json            a pod (PodSandboxConfig); prints its id
//   cri.mjs SOCKET container POD_ID POD.json CONTAINER.json    created and started in it; prints its id
//   cri.mjs SOCKET exec CONTAINER_ID CMD...   prints what it says; its status
//   cri.mjs SOCKET status CONTAINER_ID        state, exit code and pid as JSON
//   cri.mjs SOCKET stop CONTAINER_ID SECONDS  SIGTERM, after that time SIGKILL; removed
//   cri.mjs SOCKET ready                      status 0: network and runtime are
//   cri.mjs SOCKET clear                      no pod is left
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(new URL('../sdk/package.json', import.meta.url));
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

export class Runtime {
	constructor(socket) {
		const loaded = loader.loadSync(fileURLToPath(new URL('cri.proto', import.meta.url)), { keepCase: true, longs: Number, enums: String, defaults: true });
		this.client = new (grpc.loadPackageDefinition(loaded).runtime.v1.RuntimeService)(`unix:${socket}`, grpc.credentials.createInsecure());
	}
	call(method, message, seconds = 60) {
		return new Promise((resolve, reject) => {
			this.client[method](message, { deadline: Date.now() + seconds * 1000 }, (error, answer) => (error ? reject(error) : resolve(answer)));
		});
	}
	close() { this.client.close(); }

	async pod(config) { return (await this.call('RunPodSandbox', { config })).pod_sandbox_id; }
	async container(pod_sandbox_id, sandbox_config, config) {
		const { container_id } = await this.call('CreateContainer', { pod_sandbox_id, config, sandbox_config });
		await this.call('StartContainer', { container_id });
		return container_id;
	}
	async status(container_id) {
		const { status, info } = await this.call('ContainerStatus', { container_id, verbose: true });
		return { state: status.state, exit_code: status.exit_code, pid: JSON.parse(info.info ?? '{}').pid };
	}
	async remove(pod_sandbox_id) {
		await this.call('StopPodSandbox', { pod_sandbox_id });
		await this.call('RemovePodSandbox', { pod_sandbox_id });
	}
	async clear() {
		for (const { id } of (await this.call('ListPodSandbox', {})).items) await this.remove(id);
	}
}

const commands = {
	pod: async (runtime, config) => console.log(await runtime.pod(JSON.parse(fs.readFileSync(config)))),
	container: async (runtime, id, pod, config) =>
		console.log(await runtime.container(id, JSON.parse(fs.readFileSync(pod)), JSON.parse(fs.readFileSync(config)))),
	exec: async (runtime, container_id, ...cmd) => {
		const { stdout, stderr, exit_code } = await runtime.call('ExecSync', { container_id, cmd, timeout: 20 });
		process.stdout.write(stdout);
		process.stderr.write(stderr);
		process.exitCode = exit_code;
	},
	status: async (runtime, id) => console.log(JSON.stringify(await runtime.status(id))),
	stop: async (runtime, container_id, timeout) => {
		await runtime.call('StopContainer', { container_id, timeout: Number(timeout) });
		await runtime.call('RemoveContainer', { container_id });
	},
	ready: async (runtime) => {
		const lacking = (await runtime.call('Status', {}, 5)).status.conditions.filter((c) => !c.status);
		if (lacking.length) throw new Error(lacking.map((c) => `${c.type}: ${c.message}`).join('; '));
	},
	clear: (runtime) => runtime.clear(),
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const [socket, command, ...rest] = process.argv.slice(2);
	const runtime = new Runtime(socket);
	try {
		await commands[command](runtime, ...rest);
	} catch (error) {
		console.error(`cri.mjs ${command}: ${error.message}`);
		process.exitCode = 1;
	}
	runtime.close();
}
