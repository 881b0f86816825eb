//! The sentences.

use tidegate_core::{Denial, DenyReason, Lang, Snapshot, Timestamp, Zone};

use super::{Ask, RuleRef, Words};

pub(super) fn of(snapshot: &Snapshot, ask: &Ask, denial: Option<&Denial>, rule: Option<&RuleRef>) -> Words {
    let who = snapshot.account(&ask.account).map(|account| account.person.display_name.to_string());
    let who = match who.filter(|name| !name.is_empty()) {
        Some(name) => (format!("{name}（{}）", ask.account), format!("{name} ({})", ask.account)),
        None => (format!("{} ", ask.account), ask.account.to_string()),
    };
    let found = snapshot.resource(&ask.resource);
    let title = |lang| found.map(|(_, resource)| resource.title.get(lang)).filter(|title| !title.is_empty());
    let what = (
        title(Lang::ZhCn)
            .map_or_else(|| format!(" {} ", ask.resource), |title| format!("“{title}”（{}）", ask.resource)),
        title(Lang::En)
            .map_or_else(|| ask.resource.to_string(), |title| format!("{title} ({})", ask.resource)),
    );
    let Some(denial) = denial else {
        let (zh, en) = rule.map_or_else(Default::default, by_rule);
        return Words {
            zh_cn: format!("{}可以打开{}{zh}。", who.0, what.0),
            en: format!("{} may open {}{en}.", who.1, what.1),
        };
    };
    let (zh, en) = why(denial.reason);
    let rule = rule.map_or_else(Default::default, by_rule);
    let zone = found.map_or_else(Zone::utc, |(owner, _)| owner.zone.clone());
    let opens = denial.opens_at.map_or_else(Default::default, |at| {
        let local = local(&zone, at);
        (format!("，{local} 开放"), format!("; it opens at {local}"))
    });
    let code = denial.reason.code();
    Words {
        zh_cn: format!("{}不能打开{}：{zh}{}{}（{code}）。", who.0, what.0, rule.0, opens.0),
        en: format!("{} may not open {}: {en}{}{} ({code}).", who.1, what.1, rule.1, opens.1),
    }
}

fn by_rule(rule: &RuleRef) -> (String, String) {
    let name = format!("{}/{}", rule.policy, rule.rule);
    match &rule.department {
        Some(department) => (
            format!("，依据部门 {department} 的规则 {name}"),
            format!(", by rule {name} of department {department}"),
        ),
        None => (format!("，依据平台规则 {name}"), format!(", by guardrail {name} of the platform")),
    }
}

/// What the wall of the owner's department shows then.
fn local(zone: &Zone, at: Timestamp) -> String {
    jiff::tz::Offset::from_seconds(zone.offset_at(at))
        .ok()
        .zip(jiff::Timestamp::from_second(at.0).ok())
        .map_or_else(
            || "-".to_owned(),
            |(offset, at)| offset.to_datetime(at).strftime("%Y-%m-%d %H:%M").to_string(),
        )
}

fn why(reason: DenyReason) -> (&'static str, &'static str) {
    match reason {
        DenyReason::NoSnapshot => ("网关尚未收到配置", "no configuration has arrived"),
        DenyReason::AccountUnknown => ("没有这个账号", "there is no such account"),
        DenyReason::AccountInvalid => {
            ("账号申请单无法读取", "the account's object cannot be used as written")
        }
        DenyReason::AccountLeft => ("此人已离职", "the person has left"),
        DenyReason::AccountSuspended => ("账号已停用", "the account is suspended"),
        DenyReason::AccountNotApproved => ("账号未经审批", "the account has not been approved"),
        DenyReason::AccountNotYetValid => ("账号尚未到启用日期", "the account's first day has not come"),
        DenyReason::AccountExpired => ("账号已过有效期", "the account's last day has passed"),
        DenyReason::AccountReviewOverdue => {
            ("账号年度复核已逾期", "the yearly review of the account is overdue")
        }
        DenyReason::DepartmentUnknown => ("没有这个部门", "there is no such department"),
        DenyReason::ResourceUnknown => ("没有这个业务系统", "there is no such system"),
        DenyReason::PlatformVeto => ("平台禁止", "the platform refuses it"),
        DenyReason::MemberVeto => ("本人所在部门禁止", "the person's own department refuses it"),
        DenyReason::OwnerDeny => ("系统所属部门禁止", "the department that owns the system refuses it"),
        DenyReason::NoRule => ("系统所属部门没有允许的规则", "no rule of the owner allows it"),
        DenyReason::OutsideSchedule => ("不在开放时间内", "it is open at other times"),
        DenyReason::OutsideNetwork => ("只对其他网络开放", "it is open from other networks"),
        DenyReason::WrongDevice => ("只对其他类型的终端开放", "it is open to another kind of client"),
        DenyReason::FactorNeeded => ("需要更强的身份验证", "it needs a further factor"),
        DenyReason::WrongMethod => {
            ("只对其他方法、路径、主机或端口开放", "it is open for other methods, paths, hosts or ports")
        }
        DenyReason::PolicyTrap => ("部门规则执行出错", "the department's rules failed while deciding"),
        DenyReason::PolicyTimeout => ("部门规则执行超时", "the department's rules took too long"),
        DenyReason::PolicyMalformed => {
            ("部门规则给出的结果无法使用", "the department's rules gave an unusable answer")
        }
        DenyReason::PolicyNotLoaded => ("部门规则无法加载", "the department's rules cannot be loaded"),
        DenyReason::PolicyQuarantined => {
            ("部门规则多次出错，暂停使用", "the department's rules rest after repeated failures")
        }
        DenyReason::RequestTooLarge => ("请求过大，无法判定", "the request is too large to be decided"),
    }
}
