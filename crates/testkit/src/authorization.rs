//! Who may what: a table of operations as the API's pages have it, each line tried as everybody.
//!
//! A line is `PATH : METHOD STATUS WHO; METHOD STATUS WHO ...`, where WHO is letters for those who may. What the letters mean, who there is and
//! how a request is sent is for each service to say; the table, and what counts as wrong, are the same for all.

use http::Method;

/// One operation of a table.
#[derive(Clone, Debug)]
pub struct Operation<'t> {
    pub method: Method,
    pub path: &'t str,
    /// What success answers.
    pub status: u16,
    /// The letters of those who may.
    pub who: &'t str,
}

/// Somebody, and the letters of the table that mean this one.
#[derive(Clone, Debug)]
pub struct Persona {
    pub name: &'static str,
    pub token: String,
    pub reads: &'static str,
    pub changes: &'static str,
}

/// How an operation was answered.
pub struct Answered {
    pub status: u16,
    /// Whether it was refused because of who asked, not because of what there is.
    pub refused: bool,
    pub words: String,
}

/// What trying a whole table came to.
#[derive(Default)]
pub struct Tried {
    pub count: usize,
    /// A line for each operation that was answered to somebody as it should not be.
    pub wrong: Vec<String>,
}

/// The operations of a table, line by line.
#[track_caller]
pub fn operations(table: &str) -> Vec<Operation<'_>> {
    let line = |line| {
        let (path, operations) = str::split_once(line, " : ").unwrap();
        operations.split("; ").map(move |operation| {
            let [method, status, who] = operation.split(' ').collect::<Vec<_>>().try_into().unwrap();
            Operation { method: method.parse().unwrap(), path, status: status.parse().unwrap(), who }
        })
    };
    table.lines().flat_map(line).collect()
}

impl Operation<'_> {
    pub fn is_read(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

impl Persona {
    pub fn may(&self, operation: &Operation<'_>) -> bool {
        let letters = if operation.is_read() { self.reads } else { self.changes };
        operation.who.chars().any(|letter| letters.contains(letter))
    }
}

/// Tries every operation as everybody. `ask` sends one and says how it was answered, or nothing where that is not to be tried.
pub async fn try_all(
    operations: &[Operation<'_>],
    personas: &[Persona],
    ask: impl AsyncFn(&Operation<'_>, &Persona) -> Option<Answered>,
) -> Tried {
    let mut tried = Tried::default();
    for operation in operations {
        for persona in personas {
            let Some(answer) = ask(operation, persona).await else { continue };
            tried.count += 1;
            let other_success = (200..300).contains(&answer.status) && answer.status != operation.status;
            if answer.refused == persona.may(operation) || other_success || answer.status == 405 || answer.status >= 500 {
                let Operation { method, path, status, who } = operation;
                let Answered { status: got, words, .. } = answer;
                tried.wrong.push(format!("{method} {path} ({status} {who}) as {}: {got} {words}", persona.name));
            }
        }
    }
    tried
}

/// Routes that no line of a table is about, and lines that no route is for. What a placeholder is called does not matter, and HEAD is a GET.
pub fn differences<'r>(table: &[Operation<'_>], routes: impl Iterator<Item = (&'r Method, &'r str)>) -> Vec<String> {
    let routes: Vec<String> = routes.map(|(method, path)| form(method, path)).collect();
    let table: Vec<String> = table.iter().map(|operation| form(&operation.method, operation.path)).collect();
    let untold = missing(&routes, &table).map(|route| format!("no line is about {route}"));
    let unheard = missing(&table, &routes).map(|line| format!("no route is for {line}"));
    untold.chain(unheard).collect()
}

/// Routes that no line of a list is about: `GET /things/{id}`, then whatever else a test needs to know of it.
pub fn untold<'r>(list: &str, routes: impl Iterator<Item = (&'r Method, &'r str)>) -> Vec<String> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some(form(&words.next()?.parse().ok()?, words.next()?))
    };
    let list: Vec<String> = list.lines().filter_map(line).collect();
    let routes: Vec<String> = routes.map(|(method, path)| form(method, path)).collect();
    missing(&routes, &list).cloned().collect()
}

fn missing<'a>(of: &'a [String], among: &'a [String]) -> impl Iterator<Item = &'a String> {
    of.iter().filter(|form| !among.contains(form))
}

fn form(method: &Method, path: &str) -> String {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let words = path.split('/').map(|word| if word.starts_with('{') { "{}" } else { word });
    format!("{method} {}", words.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "/things : GET 200 R; POST 201 W\n/things/{id} : HEAD 200 R";

    #[test]
    fn a_table_says_who_may() {
        let operations = operations(TABLE);
        let reader = Persona { name: "reader", token: String::new(), reads: "R", changes: "" };
        assert_eq!(operations.iter().map(|operation| reader.may(operation)).collect::<Vec<_>>(), [true, false, true]);
        let (get, post) = (Method::GET, Method::POST);
        let routes = [(&get, "/things"), (&post, "/things"), (&get, "/things/{thing_id}")];
        assert!(differences(&operations, routes.into_iter()).is_empty());
        let routes = [(&get, "/things"), (&post, "/others"), (&get, "/things/{thing_id}")];
        assert_eq!(differences(&operations, routes.into_iter()), ["no line is about POST /others", "no route is for POST /things"]);
        assert_eq!(untold("GET  /things 2.7\nGET /things/{id}", [(&get, "/things"), (&post, "/things")].into_iter()), ["POST /things"]);
    }
}
