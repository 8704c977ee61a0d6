//! What hyper makes of the same bytes.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::select;

use crate::{
    reading::{End, Message, Reading},
    wire::{ScriptedWire, block_on},
};

/// The requests in `input`.
pub fn requests(input: &[u8]) -> Reading {
    let messages = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let mut message = Message::request(&request);
        let messages = messages.clone();
        async move {
            message.body = request.into_body().collect().await.ok().map(|body| body.to_bytes().to_vec());
            messages.lock().unwrap().push(message);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut http = server::conn::http1::Builder::new();
    http.half_close(true).header_read_timeout(None);
    let wire = TokioIo::new(ScriptedWire::client(input, &[]));
    let end = end(block_on(http.serve_connection(wire, service)));
    let messages = std::mem::take(&mut *messages.lock().unwrap());
    Reading { messages, end }.settled()
}

fn end(served: hyper::Result<()>) -> End {
    match served {
        Err(error) if !error.is_incomplete_message() => End::Refused(error.to_string()),
        _ => End::Closed,
    }
}

/// The response to a request of `method` in `input`.
pub fn response(input: &[u8], method: &Method) -> Reading {
    let wire = TokioIo::new(ScriptedWire::server(input, &[]));
    let request = Request::builder().method(method).uri("/").header("host", "h");
    block_on(async {
        let (mut sender, connection) = client::conn::http1::handshake(wire).await.unwrap();
        let call = async {
            let response = match sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await {
                Ok(response) => response,
                Err(error) => return Reading::nothing(End::Refused(error.to_string())),
            };
            let mut message = Message::response(&response);
            message.body = response.into_body().collect().await.ok().map(|body| body.to_bytes().to_vec());
            Reading { messages: vec![message], end: End::Closed }
        };
        let (mut call, mut connection, mut ended) = (pin!(call), pin!(connection), false);
        loop {
            select! {
                biased;
                reading = &mut call => break reading,
                _ = &mut connection, if !ended => ended = true,
            }
        }
    })
}
