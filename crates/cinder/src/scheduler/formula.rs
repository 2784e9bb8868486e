//! The little language in which operators speak of backends, as cinder's evaluator has it: numbers, names, `+ - * / ^`, comparisons,
//! `and or !`, `a ? b : c`, and `abs max min`. Truth is 1 and everything but 0.

/// Parentheses and the like within each other.
const DEEPEST: usize = 50;
const SYMBOLS: [&str; 17] = ["<=", ">=", "==", "!=", "<>", "<", ">", "+", "-", "*", "/", "^", "(", ")", ",", "?", ":"];

/// What a formula comes to, with the values of its names.
pub fn value(text: &str, names: &dyn Fn(&str) -> Option<f64>) -> Result<f64, &'static str> {
    let words = words(text)?;
    let mut reader = Reader { words: &words, names, depth: 0 };
    let value = reader.choice()?;
    match reader.words {
        [] if value.is_finite() => Ok(value),
        [] => Err("it comes to no number"),
        _ => Err("it goes on where it should end"),
    }
}

fn words(text: &str) -> Result<Vec<&str>, &'static str> {
    let (mut words, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let named = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))).unwrap_or(rest.len());
        let length = match SYMBOLS.iter().chain(&["!"]).find(|symbol| rest.starts_with(**symbol)) {
            Some(symbol) => symbol.len(),
            None if named > 0 => named,
            None => return Err("it has a sign of no meaning"),
        };
        let (word, after) = rest.split_at(length);
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

struct Reader<'t> {
    words: &'t [&'t str],
    names: &'t dyn Fn(&str) -> Option<f64>,
    depth: usize,
}

type Value = Result<f64, &'static str>;

impl<'t> Reader<'t> {
    /// Takes the next word if it is one of these.
    fn one_of(&mut self, wanted: &[&str]) -> Option<&'t str> {
        let (word, rest) = self.words.split_first()?;
        wanted.contains(word).then(|| {
            self.words = rest;
            *word
        })
    }

    fn expect(&mut self, wanted: &str) -> Result<(), &'static str> {
        self.one_of(&[wanted]).map(drop).ok_or("something is missing in it")
    }

    fn choice(&mut self) -> Value {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("it is too deep");
        }
        let condition = self.either()?;
        let value = if self.one_of(&["?"]).is_some() {
            let then = self.choice()?;
            self.expect(":")?;
            let otherwise = self.choice()?;
            if condition != 0.0 { then } else { otherwise }
        } else {
            condition
        };
        self.depth -= 1;
        Ok(value)
    }

    fn either(&mut self) -> Value {
        self.chain(&["or"], Reader::both)
    }

    fn both(&mut self) -> Value {
        self.chain(&["and"], Reader::not)
    }

    fn not(&mut self) -> Value {
        let mut turned = false;
        while self.one_of(&["!", "not"]).is_some() {
            turned = !turned;
        }
        let value = self.comparison()?;
        Ok(if turned { truth(value == 0.0) } else { value })
    }

    fn comparison(&mut self) -> Value {
        self.chain(&["<=", ">=", "==", "!=", "<>", "<", ">"], Reader::sum)
    }

    fn sum(&mut self) -> Value {
        self.chain(&["+", "-"], Reader::product)
    }

    fn product(&mut self) -> Value {
        self.chain(&["*", "/"], Reader::power)
    }

    fn power(&mut self) -> Value {
        self.chain(&["^"], Reader::atom)
    }

    /// `a + b + c`, from the left.
    fn chain(&mut self, operators: &[&str], part: fn(&mut Self) -> Value) -> Value {
        let mut value = part(self)?;
        while let Some(operator) = self.one_of(operators) {
            let other = part(self)?;
            value = match operator {
                "or" => truth(value != 0.0 || other != 0.0),
                "and" => truth(value != 0.0 && other != 0.0),
                "<=" => truth(value <= other),
                ">=" => truth(value >= other),
                "==" => truth(value == other),
                "!=" | "<>" => truth(value != other),
                "<" => truth(value < other),
                ">" => truth(value > other),
                "+" => value + other,
                "-" => value - other,
                "*" => value * other,
                "/" if other == 0.0 => return Err("it divides by zero"),
                "/" => value / other,
                _ => value.powf(other),
            };
        }
        Ok(value)
    }

    fn atom(&mut self) -> Value {
        let mut sign = 1.0;
        while let Some(word) = self.one_of(&["-", "+"]) {
            sign = if word == "-" { -sign } else { sign };
        }
        if self.one_of(&["("]).is_some() {
            let value = self.choice()?;
            self.expect(")")?;
            return Ok(sign * value);
        }
        let (word, rest) = self.words.split_first().ok_or("it ends too early")?;
        self.words = rest;
        let value = match *word {
            "abs" => self.arguments()?.first().copied().map(f64::abs),
            "max" => self.arguments()?.into_iter().reduce(f64::max),
            "min" => self.arguments()?.into_iter().reduce(f64::min),
            number if number.starts_with(|c: char| c.is_ascii_digit() || c == '.') => number.parse().ok(),
            name => (self.names)(name),
        };
        value.map(|value| sign * value).ok_or("it names what is unknown")
    }

    fn arguments(&mut self) -> Result<Vec<f64>, &'static str> {
        self.expect("(")?;
        let mut values = vec![self.choice()?];
        while self.one_of(&[","]).is_some() {
            values.push(self.choice()?);
        }
        self.expect(")")?;
        Ok(values)
    }
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_come_to_numbers() {
        let names = |name: &str| match name {
            "volume.size" => Some(10.0),
            "stats.free_capacity_gb" => Some(40.0),
            _ => None,
        };
        for (text, wanted) in [
            ("1 + 2 * 3 ^ 2", 19.0),
            ("-(2 - 5) / 2", 1.5),
            ("volume.size < 11 and !(stats.free_capacity_gb < 1)", 1.0),
            ("volume.size == 10 ? max(1, 50, 7) : 0", 50.0),
            ("volume.size > 10 ? 1 : volume.size > 5 ? 2 : 3", 2.0),
            ("min(abs(-4), 9) or 0", 1.0),
            ("100 * volume.size / stats.free_capacity_gb", 25.0),
        ] {
            assert_eq!(value(text, &names), Ok(wanted), "{text}");
        }
        for wrong in ["", "1 +", "(1", "1 2", "unknown > 1", "1 / 0", "1 $ 2", "max()", &"(".repeat(99)] {
            assert!(value(wrong, &names).is_err(), "{wrong}");
        }
    }
}
