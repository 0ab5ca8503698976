"""Bytes that are no message of a call: INVALID_ARGUMENT with words, for the calls with one request.

gRPC itself answers those with UNKNOWN, and shows the peer the name of the Python error and the bytes.
A stream of requests is decoded where it is read (servicer.py). Knows no message.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from emu_planner.plan import ErrorCode, PlanError
from emu_planner.wire.status import status_of, trailing_metadata


class DecodingInterceptor(grpc.aio.ServerInterceptor):
    """Decodes the one request of a call inside its handler, where an error can be answered."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The call's handler, made to decode."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming or handler.request_deserializer is None:
            return handler
        kind = "unary_stream" if handler.response_streaming else "unary_unary"
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(
            _decoding(getattr(handler, kind), handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )


def _decoding(handle: Callable[..., Awaitable[Any]], decode: Callable[[bytes], Any]) -> Any:
    async def decoded(data: bytes, context: grpc.aio.ServicerContext) -> Any:
        try:
            request = decode(data)
        except DecodeError:
            error = PlanError(ErrorCode.INVALID_REQUEST, "the bytes are no message of this call")
            await context.abort(status_of(error), error.message, trailing_metadata(error))
        return await handle(request, context)

    return decoded
