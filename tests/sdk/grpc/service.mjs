// SPDX-License-Identifier: Apache-2.0
// The service that the gRPC tests call, without a .proto: a message is its bytes.
const bytes = (message) => message;
const method = (name, requestStream, responseStream) => ({
	path: `/egret.test.Echo/${name}`, requestStream, responseStream, originalName: name.toLowerCase(),
	requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes,
});

export const echo = {
	Unary: method('Unary', false, false),
	Collect: method('Collect', true, false),
	Many: method('Many', false, true),
	Chat: method('Chat', true, true),
	Progress: method('Progress', false, false),
};
