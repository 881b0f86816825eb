//! The list of departments.

use http::StatusCode;

use crate::pages::{Choose, Pick};
use crate::portal::{Answer, Visit, render};

/// Longest search word.
const QUERY_CHARS_MAX: usize = 64;

/// Shows the departments, those that fit the search if there is one.
pub(crate) fn choose(visit: &Visit<'_>) -> Answer {
    let f = visit.frame();
    let query: String = visit.query.get("q").trim().chars().take(QUERY_CHARS_MAX).collect();
    let needle = query.to_lowercase();
    let all: Vec<Pick> = visit
        .snapshot
        .iter()
        .flat_map(|snapshot| snapshot.departments.values())
        // A department without people, an owner of systems only, is nothing to log in to.
        .filter(|department| !department.accounts.is_empty())
        .map(|department| Pick {
            code: department.code.to_string(),
            title: department.title.get(f.lang).to_owned(),
        })
        .collect();
    let any = !all.is_empty();
    let last = visit
        .remembered()
        .and_then(|department| all.iter().find(|pick| pick.code == department.code.as_str()).cloned())
        .filter(|_| query.is_empty());
    let found = all
        .into_iter()
        .filter(|pick| pick.title.to_lowercase().contains(&needle) || pick.code.contains(&needle))
        .collect();
    render(StatusCode::OK, &Choose { f, query, last, found, any })
}
