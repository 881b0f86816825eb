//! What a sample system shows: a little work, who the gateway says you are, and things that stay open.

use std::convert::Infallible;
use std::fmt::Write as _;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tidegate_core::{Department, Lang, Localized, Resource};

use super::download::Download;
use super::websocket;

/// The header in which the gateway says who somebody is.
const TOKEN: &str = "x-tidegate-jwt";
/// Bytes an upload may have; they are counted and forgotten.
const UPLOAD_MAX: u64 = 1 << 30;

/// A system as its pages show it.
pub(super) struct System {
    title: Localized,
    description: Localized,
    owner: Localized,
    rows: &'static [[&'static str; 3]],
}

impl System {
    /// The system behind a resource.
    pub(super) fn of(department: &Department, resource: &Resource) -> Self {
        Self {
            title: resource.title.clone(),
            description: resource.description.clone(),
            owner: department.title.clone(),
            rows: rows(&resource.icon),
        }
    }
}

#[cfg(test)]
impl System {
    /// A system with this title.
    pub(super) fn sample(title: &str) -> Self {
        let title = Localized { zh_cn: Some(title.into()), en: None };
        Self { title, description: Localized::default(), owner: Localized::default(), rows: rows("ledger") }
    }
}

/// Sample records, by the kind of system its icon says it is.
fn rows(icon: &str) -> &'static [[&'static str; 3]] {
    match icon {
        "ledger" => &[
            ["2026-11-25", "企业养老金发放 Pension payments", "¥ 18,204,610.00"],
            ["2026-11-24", "失业保险待遇 Unemployment benefits", "¥ 1,077,300.50"],
            ["2026-11-21", "工伤保险结算 Work injury settlements", "¥ 402,918.75"],
        ],
        "idcard" => &[
            ["张伟 Zhang Wei", "参保登记 Enrolment", "已受理 Accepted"],
            ["李娜 Li Na", "关系转移 Transfer", "待复核 In review"],
            ["王强 Wang Qiang", "信息变更 Change of details", "已办结 Done"],
        ],
        "archive" => &[
            ["琼社〔2026〕118号", "关于核定缴费基数的通知 On contribution bases", "2026-11-18"],
            ["琼社〔2026〕117号", "档案移交清册 List of transferred files", "2026-11-12"],
            ["琼社〔2026〕109号", "年度审核办法 Annual review rules", "2026-10-30"],
        ],
        "mail" => &[
            ["09:12", "社保局办公室 Bureau office", "会议纪要 Minutes"],
            ["08:47", "信息中心 IT centre", "系统维护通知 Maintenance"],
            ["昨天 Yesterday", "财政局 Finance", "数据核对 Data check"],
        ],
        _ => &[
            ["SQ-20261125-014", "待办 To do", "今天 17:30 Today"],
            ["SQ-20261125-009", "办理中 In progress", "明天 Tomorrow"],
            ["SQ-20261124-031", "已办结 Done", "—"],
        ],
    }
}

type Body = BoxBody<Bytes, Infallible>;

/// Answers one request.
pub(super) async fn answer(system: &System, mut request: Request<Incoming>) -> Response<Body> {
    let page = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    match (request.method(), page.as_str()) {
        (&Method::GET, "ws") => match websocket::accept(request.headers()) {
            Some(key) => {
                tokio::spawn(websocket::clock_and_echo(hyper::upgrade::on(&mut request)));
                let mut response = plain(StatusCode::SWITCHING_PROTOCOLS, "");
                let headers = response.headers_mut();
                headers.insert(header::UPGRADE, http::HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, http::HeaderValue::from_static("Upgrade"));
                if let Ok(key) = key.parse() {
                    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
                }
                response
            }
            None => plain(StatusCode::BAD_REQUEST, "a WebSocket belongs here\n"),
        },
        (&Method::GET, "download") => {
            let download = Download::new(request.uri().query().unwrap_or_default());
            let mut response = Response::new(download.boxed());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/octet-stream"));
            let name = "attachment; filename=\"archive-2026.bin\"";
            headers.insert(header::CONTENT_DISPOSITION, http::HeaderValue::from_static(name));
            response
        }
        (&Method::POST, "upload") => upload(system, request).await,
        (&Method::GET, "whoami") => json(&whoami(&request)),
        (&Method::GET, "clock") => html(system, CLOCK),
        (&Method::GET, _) => html(system, &home(system, &request)),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "not offered here\n"),
    }
}

async fn upload(system: &System, request: Request<Incoming>) -> Response<Body> {
    let mut body = request.into_body();
    let mut bytes: u64 = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Err(_) => return plain(StatusCode::BAD_REQUEST, "the upload broke off\n"),
        }
        if bytes > UPLOAD_MAX {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "too large\n");
        }
    }
    let text = format!(
        "<h2>已收到 Received</h2><p id=\"received\">{bytes} 字节 bytes</p><p><a href=\"/\">返回 Back</a></p>"
    );
    html(system, &text)
}

/// Every header that reached the system, for those who want to see what is passed on and what is not.
fn whoami(request: &Request<Incoming>) -> serde_json::Value {
    let headers = request.headers().iter().map(|(name, value)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned().into())
    });
    serde_json::json!({
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "headers": headers.collect::<serde_json::Map<_, _>>(),
    })
}

fn home(system: &System, request: &Request<Incoming>) -> String {
    let mut text = String::from("<section><h2>今日事项 <small>Today</small></h2><table>");
    for row in system.rows {
        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        let _ = write!(text, "<tr>{cells}</tr>");
    }
    text.push_str("</table></section>");
    text.push_str(ACTIONS);
    text.push_str("<section id=\"who\"><h2>网关告诉本系统您是谁 <small>Who the gateway says you are</small></h2><table>");
    match request.headers().get(TOKEN).and_then(|token| claims(token.as_bytes())) {
        Some(claims) => {
            for (claim, label) in CLAIMS {
                let value = match claims.get(claim) {
                    Some(serde_json::Value::String(value)) => value.clone(),
                    Some(serde_json::Value::Array(values)) => {
                        values.iter().filter_map(|value| value.as_str()).collect::<Vec<_>>().join(", ")
                    }
                    _ => continue,
                };
                let _ = write!(text, "<tr><th>{label}</th><td>{}</td></tr>", escape(&value));
            }
        }
        None => text.push_str("<tr><td>未经网关访问 Not reached through the gateway</td></tr>"),
    }
    text.push_str("</table><p><a href=\"/whoami\">本系统收到的全部请求头 Every header this system received</a></p></section>");
    text
}

/// The claims people understand, and what to call them.
const CLAIMS: [(&str, &str); 5] = [
    ("name", "姓名 Name"),
    ("sub", "账号 Account"),
    ("department", "部门 Department"),
    ("unit", "单位 Unit"),
    ("groups", "组 Groups"),
];

/// What a token claims. A real system checks the signature against the portal's `/.well-known/jwks.json`
/// before it believes a word; this one only shows what there is to believe.
fn claims(token: &[u8]) -> Option<serde_json::Map<String, serde_json::Value>> {
    let payload = std::str::from_utf8(token).ok()?.split('.').nth(1)?;
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(payload).ok()?).ok()
}

const ACTIONS: &str = r#"<section><h2>试一试 <small>Try</small></h2><ul>
<li><a href="/clock">时钟 Clock</a>：保持打开的连接 a connection that stays open (WebSocket)</li>
<li><a href="/download">下载 Download</a>：1 GiB，约两分钟 about two minutes</li>
<li><form method="post" action="/upload" enctype="multipart/form-data"><label>上传 Upload
<input type="file" name="file" required></label> <button>提交 Send</button></form></li>
</ul></section>"#;

const CLOCK: &str = r#"<section><h2>时钟 <small>Clock</small></h2><p id="clock" role="timer">…</p>
<form id="say"><label>留言 Say <input name="text" maxlength="200" autocomplete="off"></label> <button>发送 Send</button></form>
<p id="echo"></p><p><a href="/">返回 Back</a></p></section><script>
const clock = document.getElementById("clock"), echo = document.getElementById("echo");
const socket = new WebSocket("wss://" + location.host + "/ws");
socket.onmessage = (message) => {
  try { clock.textContent = new Date(JSON.parse(message.data).now).toLocaleTimeString(); }
  catch { echo.textContent = message.data; }
};
socket.onclose = () => { clock.textContent = "连接已断开 Disconnected"; };
document.getElementById("say").onsubmit = (event) => {
  event.preventDefault(); socket.send(event.target.text.value); event.target.reset();
};
</script>"#;

const STYLE: &str = "body{font:16px/1.6 system-ui,'Noto Sans CJK SC',sans-serif;margin:0;color:#1d2733;background:#f4f6f8}\
header{background:#25506f;color:#fff;padding:1rem 1.5rem}header h1{margin:0;font-size:1.35rem}header p{margin:.2rem 0 0;opacity:.85}\
main{max-width:56rem;margin:1rem auto;padding:0 1rem}section{background:#fff;border:1px solid #d9e0e6;border-radius:6px;padding:.6rem 1.2rem;margin:1rem 0}\
h2{font-size:1.05rem}small{color:#5a6b7b;font-weight:400}table{border-collapse:collapse;width:100%}td,th{border-top:1px solid #e6ebef;padding:.4rem .5rem;text-align:left;overflow-wrap:anywhere}\
th{font-weight:600;white-space:nowrap}#clock{font-size:2rem;margin:.4rem 0}footer{color:#5a6b7b;font-size:.85rem;text-align:center;margin:1.5rem}";

fn both(text: &Localized) -> String {
    let (zh, en) = (escape(text.get(Lang::ZhCn)), escape(text.get(Lang::En)));
    if zh == en { zh } else { format!("{zh} <small style=\"color:inherit\">{en}</small>") }
}

fn html(system: &System, main: &str) -> Response<Body> {
    let text = format!(
        "<!doctype html><html lang=\"zh-CN\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style><header><h1>{name}</h1>\
         <p>{owner} · {about}</p></header><main>{main}</main><footer>演示系统，数据均为虚构 · A sample \
         system; nothing in it is real</footer></html>\n",
        title = escape(system.title.get(Lang::ZhCn)),
        name = both(&system.title),
        owner = both(&system.owner),
        about = both(&system.description),
    );
    typed(StatusCode::OK, "text/html; charset=utf-8", text)
}

fn json(value: &serde_json::Value) -> Response<Body> {
    typed(StatusCode::OK, "application/json", format!("{value}\n"))
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", text.to_owned())
}

fn typed(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_shown_and_texts_escaped() {
        let payload = Base64UrlUnpadded::encode_string("{\"name\":\"王芳\"}".as_bytes());
        let shown = claims(format!("e30.{payload}.c2ln").as_bytes()).expect("claims");
        assert_eq!(shown["name"], "王芳");
        for odd in ["", "a.b", "a.%.c", "..", "a.bnVsbA.c"] {
            assert_eq!(claims(odd.as_bytes()), None);
        }
        assert_eq!(escape("<a href='x'>&"), "&lt;a href=&#39;x&#39;&gt;&amp;");
    }
}
