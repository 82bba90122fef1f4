//! From a text to a tree: one pass, no backtracking, bounded before it recurses.
//!
//! ```text
//! any     = all *("or" all)
//! all     = one *("and" one)
//! one     = scope / "(" any ")"
//! ```

use super::{
    EXPRESSION_CHARACTERS, EXPRESSION_DEPTH, EXPRESSION_TERMS, Node, SCOPE_CHARACTERS, ScopeSyntaxError,
    is_scope_byte,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Scope(&'a str),
    And,
    Or,
    Open,
    Close,
    End,
}

struct Parser<'a> {
    text: &'a str,
    /// Where the next token is looked for, in bytes. All before it is ASCII, so it counts characters too.
    at: usize,
    terms: usize,
    depth: usize,
}

pub(super) fn expression(text: &str) -> Result<Node, ScopeSyntaxError> {
    if text.len() > EXPRESSION_CHARACTERS {
        return Err(error(EXPRESSION_CHARACTERS, "an expression has at most 4096 characters"));
    }
    let mut parser = Parser { text, at: 0, terms: 0, depth: 0 };
    let node = parser.any()?;
    match parser.peek()? {
        (_, Token::End) => Ok(node),
        (at, Token::Close) => Err(error(at, "no `(` is open")),
        (at, _) => Err(error(at, "must be `and` or `or`")),
    }
}

fn error(at: usize, reason: &'static str) -> ScopeSyntaxError {
    ScopeSyntaxError { position: at + 1, reason }
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Node, ScopeSyntaxError> {
        let mut parts = Vec::new();
        loop {
            match self.all()? {
                Node::Any(inner) => parts.extend(inner),
                other => parts.push(other),
            }
            if !self.take(Token::Or)? {
                return Ok(only_or(parts, Node::Any));
            }
        }
    }

    fn all(&mut self) -> Result<Node, ScopeSyntaxError> {
        let mut parts = Vec::new();
        loop {
            match self.one()? {
                Node::All(inner) => parts.extend(inner),
                other => parts.push(other),
            }
            if !self.take(Token::And)? {
                return Ok(only_or(parts, Node::All));
            }
        }
    }

    fn one(&mut self) -> Result<Node, ScopeSyntaxError> {
        match self.peek()? {
            (at, Token::Scope(scope)) => {
                self.at = at + scope.len();
                self.terms += 1;
                if self.terms > EXPRESSION_TERMS {
                    return Err(error(at, "an expression has at most 32 scopes"));
                }
                Ok(Node::Scope(scope.to_owned()))
            }
            (at, Token::Open) => self.in_parentheses(at),
            (at, _) => Err(error(at, "must be a scope or `(`")),
        }
    }

    fn in_parentheses(&mut self, open: usize) -> Result<Node, ScopeSyntaxError> {
        if self.depth == EXPRESSION_DEPTH {
            return Err(error(open, "at most 8 parentheses may be within one another"));
        }
        self.at = open + 1;
        self.depth += 1;
        let inner = self.any()?;
        self.depth -= 1;
        if self.take(Token::Close)? {
            return Ok(inner);
        }
        let (at, _) = self.peek()?;
        Err(error(at, "must be `and`, `or` or `)`"))
    }

    fn take(&mut self, wanted: Token<'_>) -> Result<bool, ScopeSyntaxError> {
        let (at, token) = self.peek()?;
        if token != wanted {
            return Ok(false);
        }
        self.at = at
            + match token {
                Token::And => "and".len(),
                Token::Or => "or".len(),
                _ => 1,
            };
        Ok(true)
    }

    /// The next token, and where it is.
    fn peek(&self) -> Result<(usize, Token<'a>), ScopeSyntaxError> {
        let rest = &self.text[self.at..];
        let rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let at = self.text.len() - rest.len();
        let word = &rest[..rest.bytes().take_while(|byte| is_scope_byte(*byte)).count()];
        let token = match (word, rest.bytes().next()) {
            (_, None) => Token::End,
            (_, Some(b'(')) => Token::Open,
            (_, Some(b')')) => Token::Close,
            (_, Some(b'*')) => return Err(error(at, "a requirement must not contain a wildcard")),
            ("", Some(_)) => return Err(error(at, "must be one of a-z 0-9 _ . : - ( )")),
            ("and", _) => Token::And,
            ("or", _) => Token::Or,
            (long, _) if long.len() > SCOPE_CHARACTERS => {
                return Err(error(at, "a scope has at most 100 characters"));
            }
            (scope, _) => Token::Scope(scope),
        };
        Ok((at, token))
    }
}

fn only_or(mut parts: Vec<Node>, many: impl FnOnce(Vec<Node>) -> Node) -> Node {
    if parts.len() > 1 {
        return many(parts);
    }
    parts.pop().expect("a list is begun with one")
}
