"""Bytes that are no message of a call: INVALID_ARGUMENT with words.

gRPC itself answers those with UNKNOWN, and shows the peer the name of the Python error and the bytes.
`Plan` sees to it by itself (servicer.py); this is for all others. Knows no message.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from emu_planner.plan import ErrorCode, PlanError
from emu_planner.wire.status import status_of, trailing_metadata


class DecodingInterceptor(grpc.aio.ServerInterceptor):
    """Lets requests be decoded where an error can be answered."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The call's handler, guarded."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        if handler.request_streaming:
            if handler.response_streaming and inspect.isasyncgenfunction(handler.stream_stream):
                return grpc.stream_stream_rpc_method_handler(
                    _watching(handler.stream_stream),
                    handler.request_deserializer,
                    handler.response_serializer,
                )
            return handler
        kind = "unary_stream" if handler.response_streaming else "unary_unary"
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(
            _decoding(getattr(handler, kind), handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )


def _decoding(handle: Callable[..., Awaitable[Any]], decode: Callable[[bytes], Any]) -> Any:
    """For one request: gRPC hands over its bytes."""

    async def decoded(data: bytes, context: grpc.aio.ServicerContext) -> Any:
        try:
            request = decode(data)
        except DecodeError:
            await _refuse(context)
        return await handle(request, context)

    return decoded


def _watching(handle: Callable[..., AsyncIterator[Any]]) -> Any:
    """For many requests: gRPC decodes each where the handler asks for it."""

    async def watched(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        try:
            async for response in handle(requests, context):
                yield response
        except DecodeError:
            await _refuse(context)

    return watched


async def _refuse(context: grpc.aio.ServicerContext) -> None:
    error = PlanError(ErrorCode.INVALID_REQUEST, "the bytes are no message of this call")
    await context.abort(status_of(error), error.message, trailing_metadata(error))
